//! The journal: what the vendor said and the database could not take yet, on disk, so that it outlives the process.
//!
//! Append-only files below `data_dir/journal`, one for each process that needed one. An entry is its length, its checksum
//! and its text; it counts as kept once it is synced. A start hands every entry to the inbox as evidence, and removes a file
//! only when all of it is committed there. An entry is true for ever, so that reading one again does no harm. No secret and
//! no text of a message may stand here; phone numbers only as the database has them.

use std::{
    collections::HashSet,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use crate::Evidence;

/// What a file begins with: its format.
const HEADER: &[u8] = b"campaignd journal 1\n";
/// All files together at the most. Some hundred bytes a recipient, and only those whose calls were under way: thousands.
const MOST_BYTES: u64 = 64 << 20;
/// An entry at the most. What claims to be longer is damaged.
const MOST_ENTRY_BYTES: usize = 4 << 20;
/// Length and checksum.
const HEAD_BYTES: usize = 8;

/// The journal of a data directory, whose lock this process holds. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Journal(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    /// What processes before this one left.
    left_over: Vec<PathBuf>,
    /// The number of this process's next file.
    next: u64,
    file: Option<Open>,
    /// Bytes in all files.
    bytes: u64,
    next_claim: u64,
    /// Claims that have kept something which is not recorded yet.
    unsettled: HashSet<u64>,
}

/// The file that this process writes.
#[derive(Debug)]
struct Open {
    file: File,
    path: PathBuf,
    bytes: u64,
}

/// The entries of one writer: obsolete together, when all of what it kept is recorded.
#[derive(Debug)]
pub(crate) struct Claim {
    journal: Journal,
    id: u64,
    has_kept: bool,
}

impl Journal {
    /// Looks what an earlier process left in `folder`; makes nothing yet.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn open(folder: PathBuf) -> io::Result<Self> {
        let mut found: Vec<(u64, PathBuf)> = Vec::new();
        let mut bytes = 0;
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries.collect::<io::Result<Vec<_>>>()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let path = entry.path();
            let name = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            if let Some(number) =
                name.filter(|_| path.extension().is_some_and(|extension| extension == "log"))
            {
                bytes += entry.metadata()?.len();
                found.push((number, path));
            }
        }
        found.sort_unstable();
        let next = found.last().map_or(1, |(number, _)| number + 1);
        let left_over = found.into_iter().map(|(_, path)| path).collect();
        Ok(Self(Arc::new(Mutex::new(Inner {
            folder,
            left_over,
            next,
            file: None,
            bytes,
            next_claim: 0,
            unsettled: HashSet::new(),
        }))))
    }

    /// A writer.
    pub(crate) fn claim(&self) -> Claim {
        let mut inner = self.lock();
        inner.next_claim += 1;
        Claim { journal: self.clone(), id: inner.next_claim, has_kept: false }
    }

    /// Hands what earlier processes kept to the inbox, and removes each file when all of it is stored there.
    pub(crate) async fn read_back(&self, evidence: &Evidence) {
        let left_over = std::mem::take(&mut self.lock().left_over);
        for path in left_over {
            let reading = path.clone();
            let entries = match blocking(move || read(&reading)).await {
                Ok(entries) => entries,
                Err(error) => {
                    tracing::error!(file = %path.display(), %error, "the journal cannot be read; its outcomes stay unknown");
                    continue;
                }
            };
            let count = entries.len();
            let mut are_stored = true;
            for (account, body) in entries {
                are_stored &= evidence(account, body).await;
            }
            if !are_stored {
                return;
            }
            tracing::info!(file = %path.display(), entries = count, "outcomes of an earlier process were read back");
            self.remove(path).await;
        }
    }

    async fn remove(&self, path: PathBuf) {
        let journal = self.clone();
        let shown = path.display().to_string();
        let removed = blocking(move || {
            let bytes = fs::metadata(&path)?.len();
            fs::remove_file(&path)?;
            let mut inner = journal.lock();
            inner.bytes = inner.bytes.saturating_sub(bytes);
            Ok(())
        });
        if let Err(error) = removed.await {
            // It is read again at the next start, which changes nothing.
            tracing::warn!(file = shown, %error, "a journal that was read back cannot be removed");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// Keeps an entry; it is on disk when this returns.
    pub(crate) async fn keep(&mut self, account: &str, body: &str) -> io::Result<()> {
        let entry = entry(account, body)?;
        let (journal, id) = (self.journal.clone(), self.id);
        blocking(move || journal.lock().append(id, &entry)).await?;
        self.has_kept = true;
        Ok(())
    }

    /// All that was kept is recorded.
    pub(crate) async fn settled(&mut self) {
        if !std::mem::take(&mut self.has_kept) {
            return;
        }
        let (journal, id) = (self.journal.clone(), self.id);
        if let Err(error) = blocking(move || journal.lock().settle(id)).await {
            tracing::warn!(%error, "a journal that is no longer needed cannot be removed");
        }
    }
}

impl Inner {
    fn append(&mut self, claim: u64, entry: &[u8]) -> io::Result<()> {
        let size = entry.len() as u64;
        if self.bytes + size > MOST_BYTES {
            return Err(io::Error::other(format!("the journal is full ({MOST_BYTES} bytes)")));
        }
        // Behind what was written only in part nothing could be read: what comes next goes into another file.
        let mut open = match self.file.take() {
            Some(open) => open,
            None => self.begin_file()?,
        };
        open.file.write_all(entry)?;
        open.file.sync_data()?;
        open.bytes += size;
        self.bytes += size;
        self.file = Some(open);
        self.unsettled.insert(claim);
        Ok(())
    }

    fn begin_file(&mut self) -> io::Result<Open> {
        match DirBuilder::new().mode(0o700).create(&self.folder) {
            Ok(()) => sync_folder(self.folder.parent().unwrap_or(Path::new("/")))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        let path = self.folder.join(format!("{:08}.log", self.next));
        self.next += 1;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(HEADER)?;
        file.sync_all()?;
        sync_folder(&self.folder)?;
        self.bytes += HEADER.len() as u64;
        Ok(Open { file, path, bytes: HEADER.len() as u64 })
    }

    fn settle(&mut self, claim: u64) -> io::Result<()> {
        self.unsettled.remove(&claim);
        if !self.unsettled.is_empty() {
            return Ok(());
        }
        let Some(open) = self.file.take() else { return Ok(()) };
        self.bytes = self.bytes.saturating_sub(open.bytes);
        fs::remove_file(open.path)
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn entry(account: &str, body: &str) -> io::Result<Vec<u8>> {
    let text = serde_json::to_vec(&(account, body))?;
    if text.len() > MOST_ENTRY_BYTES {
        return Err(io::Error::other(format!(
            "an entry of {} bytes is too long for the journal",
            text.len()
        )));
    }
    let mut entry = Vec::with_capacity(HEAD_BYTES + text.len());
    entry.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    entry.extend_from_slice(&crc32fast::hash(&text).to_le_bytes());
    entry.extend_from_slice(&text);
    Ok(entry)
}

/// The entries of a file, up to where its writer died.
fn read(path: &Path) -> io::Result<Vec<(String, String)>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST_BYTES).read_to_end(&mut bytes)?;
    let (entries, torn) = parse(&bytes);
    if torn > 0 {
        tracing::warn!(file = %path.display(), bytes = torn, "the journal's last entry was never finished");
    }
    Ok(entries)
}

/// The entries, and how many bytes behind them make none.
fn parse(bytes: &[u8]) -> (Vec<(String, String)>, usize) {
    let mut entries = Vec::new();
    let Some(mut rest) = bytes.strip_prefix(HEADER) else { return (entries, bytes.len()) };
    while let Some((entry, behind)) = first(rest) {
        entries.push(entry);
        rest = behind;
    }
    (entries, rest.len())
}

fn first(bytes: &[u8]) -> Option<((String, String), &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    let length =
        usize::try_from(u32::from_le_bytes(*length)).ok().filter(|length| *length <= MOST_ENTRY_BYTES)?;
    let (text, rest) = rest.split_at_checked(length)?;
    if crc32fast::hash(text) != u32::from_le_bytes(*checksum) {
        return None;
    }
    Some((serde_json::from_slice(text).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::PermissionsExt as _,
        sync::atomic::{AtomicU32, Ordering},
    };

    use super::*;

    /// A folder that is gone with the value.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path =
                std::env::temp_dir().join(format!("campaignd-journal-{}-{number}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn journal(&self) -> Journal {
            Journal::open(self.0.join("journal")).unwrap()
        }

        fn files(&self) -> Vec<PathBuf> {
            let Ok(entries) = fs::read_dir(self.0.join("journal")) else { return Vec::new() };
            let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
            files.sort();
            files
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    type Stored = Arc<Mutex<Vec<(String, String)>>>;

    /// An inbox that takes the first so many entries and then no more.
    fn inbox(takes: usize) -> (Evidence, Stored) {
        let stored = Stored::default();
        let filled = Arc::clone(&stored);
        let evidence: Evidence = Arc::new(move |account, body| {
            let mut stored = filled.lock().unwrap();
            let takes = stored.len() < takes;
            if takes {
                stored.push((account, body));
            }
            Box::pin(async move { takes })
        });
        (evidence, stored)
    }

    fn own(entries: &[(&str, &str)]) -> Vec<(String, String)> {
        entries.iter().map(|(account, body)| ((*account).to_owned(), (*body).to_owned())).collect()
    }

    #[tokio::test]
    async fn what_was_kept_is_read_back_by_the_next_process_and_removed_when_it_is_stored() {
        let folder = Folder::new();
        let mut claim = folder.journal().claim();
        claim.keep("main", "[1]").await.unwrap();
        claim.keep("other", "[2]").await.unwrap();
        let files = folder.files();
        assert_eq!(files.len(), 1);
        assert_eq!(fs::metadata(&files[0]).unwrap().permissions().mode() & 0o777, 0o600);

        // The inbox takes one and dies: nothing is removed.
        let (evidence, _) = inbox(1);
        folder.journal().read_back(&evidence).await;
        assert_eq!(folder.files(), files);
        let (evidence, stored) = inbox(9);
        folder.journal().read_back(&evidence).await;
        assert_eq!(*stored.lock().unwrap(), own(&[("main", "[1]"), ("other", "[2]")]));
        assert!(folder.files().is_empty());
    }

    #[tokio::test]
    async fn a_torn_tail_costs_no_entry_before_it() {
        let folder = Folder::new();
        let mut claim = folder.journal().claim();
        claim.keep("main", "first").await.unwrap();
        claim.keep("main", "second").await.unwrap();
        let file = folder.files().remove(0);
        let whole = fs::read(&file).unwrap();
        let second = entry("main", "second").unwrap().len();
        for cut in 1..=second {
            fs::write(&file, &whole[..whole.len() - cut]).unwrap();
            assert_eq!(read(&file).unwrap(), own(&[("main", "first")]), "{cut} bytes are missing");
        }
        // A bit that fell over is no entry either, and neither is a file that was only begun.
        let mut damaged = whole.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(parse(&damaged), (own(&[("main", "first")]), second));
        assert_eq!(parse(&HEADER[..7]), (Vec::new(), 7));
        assert_eq!(parse(&whole).0, own(&[("main", "first"), ("main", "second")]));
    }

    #[tokio::test]
    async fn the_file_goes_when_every_writer_has_recorded_what_it_kept() {
        let folder = Folder::new();
        let journal = folder.journal();
        let (mut first, mut second) = (journal.claim(), journal.claim());
        first.keep("main", "[1]").await.unwrap();
        second.keep("other", "[2]").await.unwrap();
        first.settled().await;
        assert_eq!(folder.files().len(), 1, "the other's is still needed");
        second.settled().await;
        assert!(folder.files().is_empty());
        first.keep("main", "[3]").await.unwrap();
        assert_eq!(folder.files().len(), 1);
    }

    #[tokio::test]
    async fn it_is_bounded_and_a_new_process_goes_round_what_is_left() {
        let folder = Folder::new();
        folder.journal().claim().keep("main", "[1]").await.unwrap();
        let journal = folder.journal();
        journal.lock().bytes = MOST_BYTES;
        let refused = journal.claim().keep("main", "[2]").await.unwrap_err();
        assert!(refused.to_string().contains("full"), "{refused}");
        journal.lock().bytes = 0;
        journal.claim().keep("main", "[2]").await.unwrap();
        assert_eq!(folder.files().len(), 2, "what an earlier process wrote is never written to");
        let too_long = "x".repeat(MOST_ENTRY_BYTES + 1);
        assert!(journal.claim().keep("main", &too_long).await.is_err());
    }
}
