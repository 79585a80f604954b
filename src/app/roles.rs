//! The roles of a process.

/// Which parts of the service a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// The HTTP side.
    pub ingress: bool,
    /// The handlers of the bus.
    pub worker: bool,
    /// Outbox to bus.
    pub relay: bool,
    /// Jobs that are due by time.
    pub scheduler: bool,
}

impl Roles {
    pub const ALL: Roles = Roles { ingress: true, worker: true, relay: true, scheduler: true };

    /// From a list like `worker,relay`.
    pub fn parse(text: &str) -> Result<Roles, String> {
        let mut roles = Roles { ingress: false, worker: false, relay: false, scheduler: false };
        for name in text.split(',').map(str::trim) {
            match name {
                "ingress" => roles.ingress = true,
                "worker" => roles.worker = true,
                "relay" => roles.relay = true,
                "scheduler" => roles.scheduler = true,
                other => return Err(format!("{other:?} is not a role; roles are ingress, worker, relay, scheduler")),
            }
        }
        Ok(roles)
    }
}

impl std::fmt::Display for Roles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all =
            [(self.ingress, "ingress"), (self.worker, "worker"), (self.relay, "relay"), (self.scheduler, "scheduler")];
        let names: Vec<&str> = all.into_iter().filter(|(on, _)| *on).map(|(_, name)| name).collect();
        f.write_str(&names.join(","))
    }
}
