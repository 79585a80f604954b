//! The process's environment: read here and nowhere else in the library, so that tests can hand in their own.

/// The variables of this process that concern the configuration (`WXPAY__…`), for [`super::Config::load`].
///
/// A value that is not UTF-8 is kept with replacement characters: the check of its key then refuses it by name, where
/// dropping it would silently fall back to a default.
pub fn process_env() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        name.starts_with(super::layers::ENV_PREFIX).then(|| (name, value.to_string_lossy().into_owned()))
    })
}

/// The folder for temporary files: `TMPDIR`, or the system's.
pub fn temp_dir() -> std::path::PathBuf {
    std::env::temp_dir()
}

/// Whether the user asked for no colours: `NO_COLOR` is there and not empty.
pub fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}
