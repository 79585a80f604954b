//! An external merge sort: rows are kept in a buffer of fixed size, written to the disk in sorted runs, and merged.
//!
//! Rows with equal keys come in the order in which they were pushed.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use super::folder::Folder;

/// Runs that are merged at once; more are merged into one first.
const FAN_IN: usize = 32;
const READ_BYTES: usize = 64 * 1024;
/// What a row costs beside its bytes.
const ROW_BYTES: usize = std::mem::size_of::<Row>();
/// No row is longer: a damaged file must not ask for more.
const LONGEST: usize = 1 << 20;

#[derive(Debug, Clone, Copy)]
struct Row {
    begin: usize,
    key: usize,
    value: usize,
}

/// Takes rows.
#[derive(Debug)]
pub struct Sorter {
    folder: Arc<Folder>,
    limit: usize,
    bytes: Vec<u8>,
    rows: Vec<Row>,
    runs: Vec<PathBuf>,
}

impl Sorter {
    /// Keeps about `limit` bytes in memory.
    pub fn new(folder: Arc<Folder>, limit: usize) -> Sorter {
        Sorter { folder, limit, bytes: Vec::new(), rows: Vec::new(), runs: Vec::new() }
    }

    pub fn push(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        if key.len() > LONGEST || value.len() > LONGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a row that is too long to be sorted"));
        }
        let more = key.len() + value.len();
        if !self.rows.is_empty() && self.bytes.len() + more + (self.rows.len() + 1) * ROW_BYTES > self.limit {
            self.spill()?;
        }
        if self.bytes.capacity() == 0 {
            // Grown step by step it would leave as much behind.
            self.bytes.reserve_exact(self.limit / 8 * 7);
        }
        self.rows.push(Row { begin: self.bytes.len(), key: key.len(), value: value.len() });
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        Ok(())
    }

    /// All rows, in the order of their keys.
    pub fn finish(mut self) -> io::Result<Sorted> {
        if self.runs.is_empty() {
            self.sort();
            let rest = std::mem::take(&mut self.rows).into_iter();
            return Sorted::over(vec![Source::Memory { bytes: std::mem::take(&mut self.bytes), rest }], self.folder);
        }
        if !self.rows.is_empty() {
            self.spill()?;
        }
        // The buffer is given back before the readers' are taken.
        self.bytes = Vec::new();
        self.rows = Vec::new();
        let sources = self.runs.iter().map(open).collect::<io::Result<Vec<_>>>()?;
        Sorted::over(sources, self.folder)
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        // Equal keys stay in their order; a stable sort needs memory of its own.
        self.rows.sort_unstable_by(|a, b| (key_of(bytes, a), a.begin).cmp(&(key_of(bytes, b), b.begin)));
    }

    fn spill(&mut self) -> io::Result<()> {
        self.sort();
        let (path, file) = self.folder.file()?;
        let mut out = BufWriter::new(file);
        for row in &self.rows {
            let key = key_of(&self.bytes, row);
            let value = self.bytes.get(row.begin + row.key..row.begin + row.key + row.value).unwrap_or_default();
            write_row(&mut out, key, value)?;
        }
        out.flush()?;
        self.bytes.clear();
        self.rows.clear();
        self.runs.push(path);
        if self.runs.len() >= FAN_IN { self.merge_runs() } else { Ok(()) }
    }

    fn merge_runs(&mut self) -> io::Result<()> {
        let runs = std::mem::take(&mut self.runs);
        let sources = runs.iter().map(open).collect::<io::Result<Vec<_>>>()?;
        let mut sorted = Sorted::over(sources, Arc::clone(&self.folder))?;
        let (path, file) = self.folder.file()?;
        let mut out = BufWriter::new(file);
        while let Some((key, value)) = sorted.read()? {
            write_row(&mut out, &key, &value)?;
        }
        out.flush()?;
        for run in runs {
            std::fs::remove_file(run)?;
        }
        self.runs.push(path);
        Ok(())
    }
}

fn key_of<'b>(bytes: &'b [u8], row: &Row) -> &'b [u8] {
    bytes.get(row.begin..row.begin + row.key).unwrap_or_default()
}

/// Writes a row of a sorted file; answers its length.
pub(super) fn write_row(out: &mut impl Write, key: &[u8], value: &[u8]) -> io::Result<u64> {
    for part in [key, value] {
        out.write_all(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes())?;
        out.write_all(part)?;
    }
    Ok(u64::try_from(8 + key.len() + value.len()).unwrap_or(u64::MAX))
}

/// The next row of a sorted file; none at its end.
pub(super) fn read_row(from: &mut impl Read) -> io::Result<Option<Pair>> {
    let Some(key) = read_part(from, true)? else { return Ok(None) };
    let value = read_part(from, false)?.unwrap_or_default();
    Ok(Some((key, value)))
}

fn open(run: &PathBuf) -> io::Result<Source> {
    Ok(Source::File(BufReader::with_capacity(READ_BYTES, File::open(run)?)))
}

/// A key and a value.
pub(super) type Pair = (Vec<u8>, Vec<u8>);

#[derive(Debug)]
enum Source {
    Memory { bytes: Vec<u8>, rest: std::vec::IntoIter<Row> },
    File(BufReader<File>),
}

impl Source {
    fn read(&mut self) -> io::Result<Option<Pair>> {
        match self {
            Source::Memory { bytes, rest } => Ok(rest.next().map(|row| {
                let part = |from: usize, to: usize| bytes.get(from..to).unwrap_or_default().to_vec();
                let middle = row.begin + row.key;
                (part(row.begin, middle), part(middle, middle + row.value))
            })),
            Source::File(file) => read_row(file),
        }
    }
}

/// Nothing at the end of the file, where a row may begin.
fn read_part(file: &mut impl Read, may_end: bool) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match file.read_exact(&mut length) {
        Err(e) if may_end && e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a sorted row is damaged"));
    }
    let mut part = vec![0; length];
    file.read_exact(&mut part)?;
    Ok(Some(part))
}

#[derive(Debug)]
struct Head {
    key: Vec<u8>,
    value: Vec<u8>,
    source: usize,
}

// The heap gives its greatest: reversed, the least key, of equal ones that of the earliest run.
impl Ord for Head {
    fn cmp(&self, other: &Head) -> Ordering {
        (&other.key, other.source).cmp(&(&self.key, self.source))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Head) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Head) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}

/// Gives the rows. Keeps one of each run.
#[derive(Debug)]
pub struct Sorted {
    sources: Vec<Source>,
    heads: BinaryHeap<Head>,
    /// The files live as long as they are read.
    _folder: Arc<Folder>,
}

impl Sorted {
    fn over(mut sources: Vec<Source>, folder: Arc<Folder>) -> io::Result<Sorted> {
        let mut heads = BinaryHeap::with_capacity(sources.len());
        for (at, source) in sources.iter_mut().enumerate() {
            heads.extend(source.read()?.map(|(key, value)| Head { key, value, source: at }));
        }
        Ok(Sorted { sources, heads, _folder: folder })
    }

    /// The next row.
    pub fn read(&mut self) -> io::Result<Option<Pair>> {
        let Some(head) = self.heads.pop() else { return Ok(None) };
        if let Some(source) = self.sources.get_mut(head.source) {
            let next = source.read()?.map(|(key, value)| Head { key, value, source: head.source });
            self.heads.extend(next);
        }
        Ok(Some((head.key, head.value)))
    }
}
