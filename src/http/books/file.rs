//! A sheet as a file of an answer.
//!
//! What must stay true: the rows are read while they are sent or written, not before; an XLSX file is complete before
//! its first byte is sent, and a database that fails ends a CSV file's connection before the file's end.

use std::fs::File;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::StreamExt;
use futures_util::stream::{once, try_unfold};
use tokio::io::AsyncReadExt;
use tokio::sync::{Semaphore, mpsc};

use crate::config::temp_dir;
use crate::http::problem::Error;
use crate::ops::reports::{FileKind, Sheet, csv, xlsx};
use crate::store::DbError;

/// Workbooks that are written at once by this process; others wait.
static WRITERS: Semaphore = Semaphore::const_new(2);
/// Bytes of a file that are read at once.
const CHUNK: usize = 64 * 1024;

/// The file of a sheet.
pub async fn answer(sheet: Sheet, kind: FileKind) -> Result<Response, Error> {
    let name = format!("{}.{}", sheet.file_name, kind.as_str());
    let body = match kind {
        FileKind::Csv => as_csv(sheet),
        FileKind::Xlsx => as_xlsx(sheet).await?,
    };
    Ok(attachment(body, kind, &name))
}

/// A file that is complete. What is kept goes when it is sent, or its caller is gone.
pub fn answer_file(file: File, kind: FileKind, name: &str, kept: impl Send + 'static) -> Response {
    attachment(of_file(file, kept), kind, name)
}

fn attachment(body: Body, kind: FileKind, name: &str) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind.media_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(name) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    response
}

fn as_csv(sheet: Sheet) -> Body {
    let heads: Vec<&str> = sheet.heads.iter().map(String::as_str).collect();
    let head = csv::head(&heads);
    let rows = sheet.rows.map(|batch| {
        let mut text = String::new();
        for row in batch? {
            csv::write(&mut text, &row);
        }
        Ok::<_, DbError>(text)
    });
    Body::from_stream(once(async { Ok(head) }).chain(rows))
}

async fn as_xlsx(sheet: Sheet) -> Result<Body, Error> {
    let unwritten = |error: String| Error::Unavailable { internal: format!("a workbook: {error}") };
    let _permit = WRITERS.acquire().await.map_err(|e| unwritten(e.to_string()))?;
    let (send, mut receive) = mpsc::channel(2);
    let (tab, heads) = (sheet.tab, sheet.heads);
    let writer = tokio::task::spawn_blocking(move || {
        let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
        xlsx::write(&temp_dir(), (tab, &heads), &mut receive)
    });
    let mut rows = sheet.rows;
    while let Some(batch) = rows.next().await {
        // The writer ends early where it fails: its error is the answer.
        if send.send(batch?).await.is_err() {
            break;
        }
    }
    drop(send);
    let file = writer.await.map_err(|e| unwritten(e.to_string()))?.map_err(|e| unwritten(e.to_string()))?;
    Ok(of_file(file, ()))
}

fn of_file(file: File, kept: impl Send + 'static) -> Body {
    let chunks = try_unfold((tokio::fs::File::from_std(file), kept), |(mut file, kept)| async move {
        let mut chunk = vec![0; CHUNK];
        let read = file.read(&mut chunk).await?;
        chunk.truncate(read);
        Ok::<_, std::io::Error>((read > 0).then(|| (Bytes::from(chunk), (file, kept))))
    });
    Body::from_stream(chunks)
}
