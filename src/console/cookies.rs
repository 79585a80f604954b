//! The console's cookies. Over https their names begin with `__Host-`, which only this very host can set.

use std::time::Duration;

use axum::http::HeaderValue;

/// How this installation names its cookies.
#[derive(Debug, Clone, Copy)]
pub struct Jar {
    secure: bool,
}

/// The session's token.
const SESSION: (&str, &str) = ("__Host-wxpay_console", "wxpay_console_local");
/// What the next page says of the last action.
const FLASH: (&str, &str) = ("__Host-wxpay_console_flash", "wxpay_console_flash_local");
/// The language.
const LANG: (&str, &str) = ("__Host-wxpay_console_lang", "wxpay_console_lang_local");
/// The colours.
const THEME: (&str, &str) = ("__Host-wxpay_console_theme", "wxpay_console_theme_local");

impl Jar {
    /// For a service that browsers see at `public_url`.
    pub fn new(public_url: &str) -> Jar {
        Jar { secure: public_url.starts_with("https://") }
    }

    /// Whether browsers send the cookies over https alone.
    pub fn is_secure(self) -> bool {
        self.secure
    }

    pub fn session(self) -> &'static str {
        self.name(SESSION)
    }

    pub fn flash(self) -> &'static str {
        self.name(FLASH)
    }

    pub fn lang(self) -> &'static str {
        self.name(LANG)
    }

    pub fn theme(self) -> &'static str {
        self.name(THEME)
    }

    fn name(self, (secure, plain): (&'static str, &'static str)) -> &'static str {
        if self.secure { secure } else { plain }
    }

    /// The `Set-Cookie` line; `value` is URL-safe text. `SameSite=Lax`: a pasted link opens the page.
    pub fn set(self, name: &str, value: &str, max_age: Duration) -> Option<HeaderValue> {
        let secure = if self.secure { "; Secure" } else { "" };
        let max_age = max_age.as_secs();
        let line = format!("{name}={value}; Path=/; Max-Age={max_age}; SameSite=Lax; HttpOnly{secure}");
        HeaderValue::from_str(&line).ok()
    }

    /// The `Set-Cookie` line that ends it.
    pub fn end(self, name: &str) -> Option<HeaderValue> {
        self.set(name, "", Duration::ZERO)
    }
}
