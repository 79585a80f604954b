//! The help of every command, as it was when it was last read by a person.
//!
//! After a change: `WXPAY_RENEW_HELP=1 cargo test --test it ctl::help`, then read the difference.

use super::support::{Ran, run, wxpayctl};

const KNOWN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/ctl/help.txt");

/// Every command and group of commands, the program itself first.
pub async fn commands() -> Vec<(Vec<String>, Ran)> {
    let (mut found, mut left) = (Vec::new(), vec![Vec::<String>::new()]);
    while let Some(path) = left.pop() {
        let mut command = wxpayctl(&[]);
        command.args(&path).arg("--help");
        let help = run(command).await;
        assert_eq!((help.code, help.err.as_str()), (0, ""), "{path:?}");
        let names =
            help.out.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
        let names = names.filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).filter(|name| *name != "help");
        let below: Vec<_> = names.map(|name| [&path[..], &[name.to_owned()]].concat()).collect();
        left.extend(below.into_iter().rev());
        found.push((path, help));
    }
    found
}

#[tokio::test]
async fn the_help_of_every_command_is_as_it_was_read() {
    let mut text = String::new();
    for (path, help) in commands().await {
        let name = path.iter().map(|name| format!(" {name}")).collect::<String>();
        text.push_str(&format!("$ wxpayctl{name} --help\n{}\n", help.out));
    }
    assert!(!text.contains('\x1b'), "colours in a pipe");
    if std::env::var_os("WXPAY_RENEW_HELP").is_some() {
        std::fs::write(KNOWN, &text).unwrap();
        return;
    }
    let known = std::fs::read_to_string(KNOWN).unwrap();
    for (now, known) in text.lines().zip(known.lines()) {
        assert_eq!(now, known, "WXPAY_RENEW_HELP=1 writes tests/it/ctl/help.txt anew");
    }
    assert_eq!(text.lines().count(), known.lines().count(), "WXPAY_RENEW_HELP=1 writes tests/it/ctl/help.txt anew");
}

#[tokio::test]
async fn there_is_a_manual_page_for_every_command() {
    let page = run(wxpayctl(&["man"])).await;
    assert_eq!(page.code, 0, "{}", page.err);
    assert!(page.out.contains(".TH wxpayctl 1") && page.out.contains("dead\\-letters"), "{}", page.out);
    let folder = tempfile::tempdir().unwrap();
    let written = run(wxpayctl(&["man", "--to", folder.path().to_str().unwrap()])).await;
    assert_eq!(written.code, 0, "{}", written.err);
    for (path, _) in commands().await {
        let name = std::iter::once("wxpayctl".to_owned()).chain(path).collect::<Vec<_>>().join("-");
        assert!(folder.path().join(format!("{name}.1")).is_file(), "no page of {name}");
    }
}
