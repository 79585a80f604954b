//! The style of a phone's pages: the simulator's own, the sheet in a shop's page, and the demo's shop.
//!
//! What must stay true: one palette, in which text has a contrast of 4.5 or more in both schemes.

use std::fmt::Write as _;

/// The colours as custom properties, for light and for dark.
const COLOURS: [(&str, &str, &str); 10] = [
    ("paper", "#ededed", "#111"),
    ("sheet", "#fff", "#1e1e1e"),
    ("ink", "#191919", "#e8e8e8"),
    ("faint", "#5c5c5c", "#ababab"),
    ("line", "#8a8a8a", "#808080"),
    ("hair", "#e2e2e2", "#333"),
    ("green", "#067a41", "#3fc67c"),
    ("on-green", "#fff", "#06210f"),
    ("plain", "#ebebeb", "#343434"),
    ("focus", "#1a5fd0", "#8ab4f8"),
];

/// The palette as rules of this selector: for a document `:root`, inside a component `:host`.
pub(crate) fn palette(selector: &str) -> String {
    let (mut light, mut dark) = (String::new(), String::new());
    for (name, by_day, by_night) in COLOURS {
        // Writing to a String cannot fail.
        let _ = write!(light, "--{name}:{by_day};");
        let _ = write!(dark, "--{name}:{by_night};");
    }
    format!("{selector}{{color-scheme:light dark;{light}}}@media(prefers-color-scheme:dark){{{selector}{{{dark}}}}}")
}

/// The style of a whole page, which stands in a phone's frame on a wide screen.
pub(in crate::sandbox) fn page_style() -> String {
    palette(":root") + RULES
}

const RULES: &str = "\
*{box-sizing:border-box}\
body{margin:0;min-height:100vh;display:flex;flex-direction:column;align-items:center;background:var(--paper);\
color:var(--ink);font:16px/1.5 system-ui,-apple-system,'PingFang SC','Noto Sans CJK SC','Microsoft YaHei',sans-serif}\
main{position:relative;width:100%;padding:2.5rem 1.5rem;background:var(--sheet);flex:1}\
h1{margin:0;font-size:1.1rem;font-weight:500;text-align:center;overflow-wrap:anywhere}\
.payee{margin:1.5rem 0 0;text-align:center;overflow-wrap:anywhere}\
.amount{margin:.25rem 0 2rem;font-size:min(2.75rem,12vw);font-weight:600;line-height:1.2;text-align:center;\
white-space:nowrap}\
dl{display:grid;grid-template-columns:auto 1fr;gap:.5rem 1.5rem;margin:0 0 2.5rem;padding-top:1rem;\
border-top:1px solid var(--hair)}\
dt{color:var(--faint);white-space:nowrap}dd{margin:0;text-align:right;overflow-wrap:anywhere}\
.button{display:block;width:100%;min-height:3rem;margin:0 0 .75rem;padding:.75rem;border:0;border-radius:.5rem;\
background:var(--green);color:var(--on-green);font:inherit;font-weight:600;text-align:center;text-decoration:none;\
cursor:pointer}\
.plain{background:var(--plain);color:var(--ink)}\
.close{position:absolute;top:.5rem;left:.5rem;width:2.75rem;height:2.75rem;border:0;border-radius:50%;background:none;\
color:inherit;font:inherit;font-size:1.75rem;line-height:1;cursor:pointer}\
.button:focus-visible,.close:focus-visible{outline:3px solid var(--focus);outline-offset:2px}\
.mark{display:grid;place-items:center;width:4.5rem;height:4.5rem;margin:0 auto 1rem;border-radius:50%;\
background:var(--plain);font-size:2rem;font-weight:600}\
.tick{background:var(--green)}.tick::after{content:'';width:2rem;height:1.1rem;border:solid var(--on-green);\
border-width:0 0 .375rem .375rem;transform:translateY(-.25rem) rotate(-45deg)}\
footer{padding:1rem;font-size:.8rem;color:var(--faint);text-align:center}\
@media(min-width:40rem){body{justify-content:center;padding:2rem 1rem}main,footer{max-width:24.375rem;\
border:solid #2b2b2b;border-width:0 .5rem}main{flex:0 1 46rem;border-width:.5rem .5rem 0;\
border-radius:2.25rem 2.25rem 0 0}\
footer{width:100%;border-width:0 .5rem .5rem;border-radius:0 0 2.25rem 2.25rem;background:var(--paper)}}";
