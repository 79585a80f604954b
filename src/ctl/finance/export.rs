//! Sheets as files.

use std::fs::File;
use std::io::{IsTerminal, Write, stderr};
use std::path::Path;

use super::args::Span;
use super::merchant::merchant;
use crate::ctl::client::{Api, part};
use crate::ctl::exit::{Exit, Failure};
use crate::ctl::output::Printer;

/// What is written, and how.
pub struct Export<'a> {
    pub span: Span,
    pub date: Option<String>,
    pub out: Option<&'a Path>,
    pub lang: Option<String>,
    pub columns: Option<String>,
}

pub async fn export(api: &Api, export: Export<'_>, out: &mut Printer) -> Result<Exit, Failure> {
    let Export { span, date, out: file, lang, columns } = export;
    let format = match file.and_then(|file| file.extension()).map(|extension| extension.to_string_lossy()) {
        None if file.is_none() => "csv".to_owned(),
        Some(extension) if matches!(&*extension, "csv" | "xlsx") => extension.into_owned(),
        _ => return Err(Failure::new(Exit::Usage, "--out must end with .csv or .xlsx")),
    };
    let (path, parameters) = match date {
        Some(date) => {
            let merchant = merchant(api, span.merchant).await?;
            let path = format!("/v1/reports/{}/{}.{format}", part(&merchant), part(&date));
            (path, vec![("lang", lang), ("columns", columns)])
        }
        None if span.from.is_none() => {
            return Err(Failure::new(Exit::Usage, "which days? --date, or --from and --to"));
        }
        None => {
            let parameters = vec![
                ("merchant", span.merchant),
                ("from", span.from),
                ("to", span.to),
                ("format", Some(format)),
                ("lang", lang),
            ];
            ("/v1/reports/daily".to_owned(), parameters)
        }
    };
    to_file_or_stdout(api, (&path, &parameters), file, out).await
}

/// Writes what an address gives into a file, or to stdout.
pub async fn to_file_or_stdout(
    api: &Api,
    (path, parameters): (&str, &[(&str, Option<String>)]),
    file: Option<&Path>,
    out: &mut Printer,
) -> Result<Exit, Failure> {
    match file {
        Some(file) => to_file(api, (path, parameters), file, out).await?,
        None => api.download(path, parameters, |bytes| out.bytes(bytes)).await?,
    }
    Ok(Exit::Ok)
}

/// The name is taken when the file is whole: what fails leaves an older file as it is.
async fn to_file(
    api: &Api,
    (path, parameters): (&str, &[(&str, Option<String>)]),
    file: &Path,
    out: &mut Printer,
) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::new(Exit::Failed, format!("{}: {error}", file.display()));
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    let partial = Path::new(&name);
    let mut written = File::create(partial).map_err(failed)?;
    let bar = stderr().is_terminal() && !out.is_json();
    let mut bytes = 0;
    let done = api.download(path, parameters, |chunk| {
        bytes += chunk.len();
        if bar {
            out.progress(&format!("{} KiB", bytes / 1024));
        }
        written.write_all(chunk)?;
        Ok(())
    });
    let done = match done.await {
        Ok(()) => written.sync_all().and_then(|()| std::fs::rename(partial, file)).map_err(failed),
        Err(failure) => Err(failure),
    };
    if bar {
        out.note("");
    }
    if done.is_err() {
        let _ = std::fs::remove_file(partial);
        return done;
    }
    out.note(&format!("{} has {bytes} bytes", file.display()));
    Ok(())
}
