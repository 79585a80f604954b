//! What an address does: who may call it, with what, and what it answers.

use super::field::Field;
use crate::config::Scope;

/// Who may call it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everyone.
    Open,
    /// An API key with this scope.
    Key(Scope),
    /// The same, or the order's own token.
    KeyOrToken(Scope),
    /// An API key with this scope, or a process of this host.
    Insider(Scope),
    /// Everyone; with an API key of this scope, or from this host, more is answered.
    More(Scope),
    /// A browser, with the cookies that it has.
    Browser,
    /// A payer's session: cookie, or bearer token of a mini program.
    Session,
    /// WeChat, by its signature in the body.
    Wechat,
}

/// What an answer holds.
#[derive(Clone, Copy)]
pub enum Content {
    None,
    /// JSON of the named schema.
    Json(&'static str),
    /// JSON of the named schema, or CSV or XLSX where that is asked for.
    JsonOrFile(&'static str),
    /// CSV or XLSX.
    File,
    /// Server-sent events with data of the named schema.
    Stream(&'static str),
    /// The browser's envelope around data of the named schema.
    Envelope(&'static str),
    /// WeChat's XML.
    Xml,
    /// Text of this media type.
    Text(&'static str),
}

/// An answer that is not a refusal.
#[derive(Clone, Copy)]
pub struct Answer {
    pub status: u16,
    pub about: &'static str,
    pub content: Content,
    /// It has the header `Location`.
    pub location: bool,
}

pub const fn answer(status: u16, content: Content, about: &'static str) -> Answer {
    Answer { status, about, content, location: false }
}

/// An answer that names a place where more is known.
pub const fn located(status: u16, content: Content, about: &'static str) -> Answer {
    Answer { status, about, content, location: true }
}

/// The body of a request.
#[derive(Clone, Copy)]
pub struct Body {
    /// The named schema.
    pub schema: &'static str,
    pub is_optional: bool,
}

/// A method of an address.
#[derive(Clone, Copy)]
pub struct Operation {
    pub id: &'static str,
    pub method: &'static str,
    pub path: &'static str,
    pub summary: &'static str,
    pub about: &'static str,
    pub access: Access,
    pub query: &'static [Field],
    pub body: Option<Body>,
    pub answers: &'static [Answer],
    /// Slugs of problems, or reasons of the browser side, beside those that its form brings.
    pub refusals: &'static [&'static str],
    /// It takes `Prefer: wait=N`.
    pub waits: bool,
    /// It takes `Idempotency-Key`.
    pub is_idempotent: bool,
    /// Clients keep its answers, and ask whether they are still the same.
    pub is_kept: bool,
}

const fn operation(method: &'static str, path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation {
        id,
        method,
        path,
        summary,
        about: "",
        access: Access::Open,
        query: &[],
        body: None,
        answers: &[],
        refusals: &[],
        waits: false,
        is_idempotent: false,
        is_kept: false,
    }
}

pub const fn get(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    operation("get", path, id, summary)
}

pub const fn post(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    operation("post", path, id, summary)
}

pub const fn patch(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    operation("patch", path, id, summary)
}

pub const fn delete(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    operation("delete", path, id, summary)
}

impl Operation {
    #[must_use]
    pub const fn about(self, about: &'static str) -> Operation {
        Operation { about, ..self }
    }

    #[must_use]
    pub const fn access(self, access: Access) -> Operation {
        Operation { access, ..self }
    }

    /// For an API key with this scope.
    #[must_use]
    pub const fn key(self, scope: Scope) -> Operation {
        self.access(Access::Key(scope))
    }

    #[must_use]
    pub const fn query(self, query: &'static [Field]) -> Operation {
        Operation { query, ..self }
    }

    #[must_use]
    pub const fn body(self, schema: &'static str) -> Operation {
        Operation { body: Some(Body { schema, is_optional: false }), ..self }
    }

    /// With a body that may be left out.
    #[must_use]
    pub const fn optional_body(self, schema: &'static str) -> Operation {
        Operation { body: Some(Body { schema, is_optional: true }), ..self }
    }

    #[must_use]
    pub const fn answers(self, answers: &'static [Answer]) -> Operation {
        Operation { answers, ..self }
    }

    #[must_use]
    pub const fn refusals(self, refusals: &'static [&'static str]) -> Operation {
        Operation { refusals, ..self }
    }

    #[must_use]
    pub const fn waits(self) -> Operation {
        Operation { waits: true, ..self }
    }

    #[must_use]
    pub const fn idempotent(self) -> Operation {
        Operation { is_idempotent: true, ..self }
    }

    #[must_use]
    pub const fn kept(self) -> Operation {
        Operation { is_kept: true, ..self }
    }

    /// The names between braces in its path.
    pub fn path_names(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('{').skip(1).filter_map(|rest| rest.split('}').next())
    }
}

/// A named schema of an object.
#[derive(Clone, Copy)]
pub struct Object {
    pub name: &'static str,
    pub about: &'static str,
    pub fields: &'static [Field],
    /// Requests have no other members; answers may get further ones.
    pub is_request: bool,
}

pub const fn object(name: &'static str, about: &'static str, fields: &'static [Field]) -> Object {
    Object { name, about, fields, is_request: false }
}

pub const fn request(name: &'static str, about: &'static str, fields: &'static [Field]) -> Object {
    Object { name, about, fields, is_request: true }
}

/// What belongs together.
pub struct Section {
    /// The tag of its operations.
    pub name: &'static str,
    pub about: &'static str,
    pub operations: &'static [Operation],
    pub objects: &'static [&'static [Object]],
}
