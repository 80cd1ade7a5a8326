//! Which calls have begun, in a file: so that a process that was killed leaves none unknown that it never made.
//!
//! Intents are committed a while before their calls begin, and of what a dead process left open the database cannot tell
//! how far it came. So each call is marked here before its first byte leaves: what the kernel was given stays with it when
//! a process dies, however it dies. Whoever starts after it, holding the lock of the same data directory, finds the marks;
//! whoever is not marked was never called, and goes back to where it was.
//!
//! A file speaks for one lease and is believed only where nothing can be missing from it: under the boot it was written
//! in (when the machine goes down, what the kernel held goes with it), on a file system whose writes the kernel itself
//! holds, and from a process that is dead. Wherever one is not believed, what was open is unknown, as it always was.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use nix::sys::statfs::{
    BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, F2FS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC,
    XFS_SUPER_MAGIC, statfs,
};
use store::leases::Lease;

/// What a file begins with: its format, then the boot.
const FORMAT: &str = "campaignd departures 1\n";
/// Format and boot together.
const HEADER_BYTES: usize = 64;
/// A request's place: its id, then its marks.
const PLACE_BYTES: usize = ID_BYTES + MARKS;
const ID_BYTES: usize = 8;
/// Marks of a request, a byte each; the last one stands for all calls from there on.
const MARKS: usize = 8;
/// Calls that share a mark: writing one costs a system call.
const CALLS_A_MARK: usize = 8;
/// Requests that may be open at once; beyond that the file is given up, which costs some unknown ones after a kill.
const MOST_PLACES: u32 = 1 << 16;

/// The file systems of Linux that keep what was written when the process that wrote it dies: for ext4 the kernel has the
/// same number as for ext2 and ext3. Others may ask a process for it, which may die as well.
const TRUSTED: [nix::sys::statfs::FsType; 6] = [
    EXT4_SUPER_MAGIC,
    XFS_SUPER_MAGIC,
    BTRFS_SUPER_MAGIC,
    F2FS_SUPER_MAGIC,
    TMPFS_MAGIC,
    OVERLAYFS_SUPER_MAGIC,
];

/// The files of a data directory, whose lock this process holds. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Departures(Arc<Folder>);

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    /// None where the machine has no such thing: then nothing is written and nothing believed.
    boot: Option<String>,
    /// Written by this process, which is not dead.
    ours: Mutex<HashSet<PathBuf>>,
}

impl Departures {
    /// Makes nothing yet.
    #[must_use]
    pub fn in_folder(path: PathBuf) -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        let boot = boot.map(|boot| boot.trim().to_owned()).filter(|boot| !boot.is_empty());
        Self(Arc::new(Folder { path, boot, ours: Mutex::default() }))
    }

    /// Begins the file of a lease.
    pub(crate) fn begin(&self, lease: &Lease) -> Ledger {
        let path = self.path_of(&lease.account, lease.epoch);
        let file = match self.0.create(&path) {
            Ok(Some(file)) => Some(Arc::new(Page::new(file, path))),
            Ok(None) => None,
            Err(error) => {
                tracing::warn!(file = %path.display(), %error,
                    "which calls begin cannot be kept: should this process be killed, more recipients become unknown");
                None
            }
        };
        Ledger { page: file, free: Vec::new(), places: 0 }
    }

    /// What dead processes left of the account's leases before this one.
    pub(crate) fn of_before(&self, lease: &Lease) -> Before {
        let older = self.files_of(&lease.account).filter(|(epoch, _)| *epoch < lease.epoch);
        let of_the_dead = older.filter(|(_, path)| !self.0.ours().contains(path));
        let believed = of_the_dead.filter_map(|(epoch, path)| Some((epoch, self.0.read(&path)?)));
        Before { by_epoch: believed.collect() }
    }

    /// Nothing is open of the account's other leases any more. Newer ones are of a database that is no more.
    pub(crate) fn forget_others(&self, lease: &Lease) {
        for (_, path) in self.files_of(&lease.account).filter(|(epoch, _)| *epoch != lease.epoch) {
            remove(&path);
        }
    }

    fn path_of(&self, account: &str, epoch: i64) -> PathBuf {
        self.0.path.join(format!("{account}.{epoch}"))
    }

    /// With the epoch of each.
    fn files_of(&self, account: &str) -> impl Iterator<Item = (i64, PathBuf)> {
        let epoch_of = move |path: &Path| {
            let (of, epoch) = path.file_name()?.to_str()?.rsplit_once('.')?;
            epoch.parse().ok().filter(|_| of == account)
        };
        let entries = fs::read_dir(&self.0.path).into_iter().flatten();
        entries.filter_map(move |entry| {
            let path = entry.ok()?.path();
            Some((epoch_of(&path)?, path))
        })
    }
}

impl Folder {
    fn ours(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        self.ours.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn header(&self) -> Option<[u8; HEADER_BYTES]> {
        let mut header = [0; HEADER_BYTES];
        let text = format!("{FORMAT}{}\n", self.boot.as_ref()?);
        header.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(header)
    }

    /// A new file; none where it would not be believed.
    fn create(&self, path: &Path) -> io::Result<Option<File>> {
        let Some(header) = self.header() else { return Ok(None) };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path)?;
        if !TRUSTED.contains(&statfs(&self.path)?.filesystem_type()) {
            return Ok(None);
        }
        self.ours().insert(path.to_owned());
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(&header)?;
        Ok(Some(file))
    }

    /// The marks of each request; none: not to be believed.
    fn read(&self, path: &Path) -> Option<HashMap<i64, [u8; MARKS]>> {
        let bytes = fs::read(path).ok()?;
        let (header, places) = bytes.split_at_checked(HEADER_BYTES)?;
        if header != self.header()? || places.len() % PLACE_BYTES != 0 {
            return None;
        }
        let place = |place: &[u8]| {
            let (id, marks) = place.split_first_chunk::<ID_BYTES>()?;
            Some((i64::from_le_bytes(*id), marks.try_into().ok()?))
        };
        places.chunks_exact(PLACE_BYTES).map(place).collect()
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(file = %path.display(), %error, "a file of calls that have ended cannot be removed");
    }
}

/// What is known of the calls of older leases.
#[derive(Debug, Default)]
pub(crate) struct Before {
    by_epoch: HashMap<i64, HashMap<i64, [u8; MARKS]>>,
}

impl Before {
    /// The request's call of the recipient at `index` surely never began.
    pub(crate) fn never_began(&self, epoch: i64, request_id: i64, index: usize) -> bool {
        let Some(requests) = self.by_epoch.get(&epoch) else { return false };
        // One that has no place was committed, and nothing more.
        requests.get(&request_id).is_none_or(|marks| marks[mark_of(index)] == 0)
    }
}

fn mark_of(index: usize) -> usize {
    (index / CALLS_A_MARK).min(MARKS - 1)
}

/// The file of one lease, as its committer writes it.
#[derive(Debug)]
pub(crate) struct Ledger {
    page: Option<Arc<Page>>,
    /// Places whose request is closed.
    free: Vec<u32>,
    /// How many places there are.
    places: u32,
}

#[derive(Debug)]
struct Page {
    file: File,
    path: PathBuf,
    /// Something is missing from it: it must go before any call begins.
    is_damaged: AtomicBool,
    /// It is gone.
    is_given_up: AtomicBool,
}

impl Page {
    fn new(file: File, path: PathBuf) -> Self {
        Self { file, path, is_damaged: AtomicBool::new(false), is_given_up: AtomicBool::new(false) }
    }

    /// Without it whatever is open is unknown to whoever comes next. False: it cannot be removed, and would be believed.
    fn give_up(&self, error: &io::Error) -> bool {
        self.is_damaged.store(true, Ordering::Release);
        let removed = match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        if let Err(error) = removed {
            tracing::error!(file = %self.path.display(), %error,
                "which calls begin can be neither written nor forgotten; none begins, and the account begins again");
            return false;
        }
        if !self.is_given_up.swap(true, Ordering::AcqRel) {
            tracing::warn!(file = %self.path.display(), %error,
                "which calls begin cannot be kept: should this process be killed, more recipients become unknown");
        }
        true
    }

    fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Acquire)
    }

    /// Writes to a place. False: nothing may begin that this is about.
    fn write(&self, bytes: &[u8], place: u32, offset: usize) -> bool {
        if self.is_given_up() {
            return true;
        }
        let written = if self.is_damaged.load(Ordering::Acquire) {
            Err(io::Error::other("an earlier mark is missing"))
        } else if place >= MOST_PLACES {
            Err(io::Error::other(format!("more than {MOST_PLACES} requests are open")))
        } else {
            self.write_at(bytes, place, offset)
        };
        written.map_or_else(|error| self.give_up(&error), |()| true)
    }

    fn write_at(&self, bytes: &[u8], place: u32, offset: usize) -> io::Result<()> {
        let at = HEADER_BYTES + place as usize * PLACE_BYTES + offset;
        self.file.write_all_at(bytes, at as u64)
    }
}

impl Ledger {
    /// Gives a committed request its place, before any of its calls may begin. None: nothing is kept.
    pub(crate) fn enter(&mut self, request_id: i64) -> Option<Arc<Place>> {
        let page = self.page.as_ref().filter(|page| !page.is_given_up())?;
        let number = self.free.pop().unwrap_or(self.places);
        self.places = self.places.max(number + 1);
        let mut place = [0; PLACE_BYTES];
        place[..ID_BYTES].copy_from_slice(&request_id.to_le_bytes());
        // Where it could not be written nothing begins either: the page says so to each call.
        page.write(&place, number, 0);
        Some(Arc::new(Place { page: Arc::clone(page), number, marked: Default::default() }))
    }

    /// The request is closed, and the database has said so.
    pub(crate) fn leave(&mut self, place: &Place) {
        self.free.push(place.number);
    }

    /// Nothing of the lease is open any more.
    pub(crate) fn close(self) {
        if let Some(page) = self.page.filter(|page| !page.is_given_up()) {
            remove(&page.path);
        }
    }
}

/// The place of one request.
#[derive(Debug)]
pub(crate) struct Place {
    page: Arc<Page>,
    number: u32,
    marked: [AtomicBool; MARKS],
}

impl Place {
    /// Marks the call of the recipient at `index`. False: it must not begin.
    pub(crate) fn begins(&self, index: usize) -> bool {
        let mark = mark_of(index);
        if self.marked[mark].load(Ordering::Acquire) {
            return true;
        }
        let may_begin = self.page.write(&[1], self.number, ID_BYTES + mark);
        self.marked[mark].store(may_begin, Ordering::Release);
        may_begin
    }

    /// Marks the one call of a batch.
    pub(crate) fn begins_whole(&self) -> bool {
        self.page.write(&[1; MARKS], self.number, ID_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(epoch: i64) -> Lease {
        Lease { account: "main.1".to_owned(), epoch }
    }

    /// A folder of its own, and what a process that starts there sees.
    fn folder(name: &str) -> (PathBuf, impl Fn() -> Departures) {
        let path = std::env::temp_dir().join(format!("campaignd-departures-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        let at = path.clone();
        (path, move || Departures::in_folder(at.join("departures")))
    }

    #[test]
    fn the_next_process_knows_which_calls_never_began() {
        let (path, start) = folder("marks");
        let mut ledger = start().begin(&lease(3));
        let (first, batch) = (ledger.enter(7).unwrap(), ledger.enter(8).unwrap());
        assert!(first.begins(0) && first.begins(17) && first.begins(17) && batch.begins_whole());
        let before = start().of_before(&lease(4));
        let never = |request, index| before.never_began(3, request, index);
        // Eight share a mark.
        assert!(
            !never(7, 0) && !never(7, 7) && never(7, 8) && !never(7, 16) && !never(7, 23) && never(7, 24)
        );
        assert!(!never(8, 0) && !never(8, 99));
        assert!(never(9, 0), "it was committed, and then the process died");
        assert!(!before.never_began(2, 9, 0), "nobody here knows of that lease");
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_place_is_used_again_when_its_request_is_closed() {
        let (path, start) = folder("places");
        let mut ledger = start().begin(&lease(1));
        let first = ledger.enter(1).unwrap();
        assert!(first.begins_whole());
        ledger.leave(&first);
        let second = ledger.enter(2).unwrap();
        assert_eq!(second.number, first.number);
        let before = start().of_before(&lease(2));
        assert!(before.never_began(1, 2, 0), "the marks of the request before it are gone");
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn what_may_lack_something_is_not_believed() {
        let (path, start) = folder("belief");
        let living = start();
        let mut ledger = living.begin(&lease(1));
        let place = ledger.enter(5).unwrap();
        assert!(!living.of_before(&lease(2)).never_began(1, 5, 0), "the process that wrote it lives");
        assert!(start().of_before(&lease(2)).never_began(1, 5, 0));
        assert!(!start().of_before(&lease(1)).never_began(1, 5, 0), "it is the lease's own");
        let other = Lease { account: "main".to_owned(), epoch: 2 };
        assert!(!start().of_before(&other).never_began(1, 5, 0), "another account");
        let file = path.join("departures/main.1.1");
        let bytes = fs::read(&file).unwrap();
        let of_another_boot = |bytes: &mut Vec<u8>| bytes[FORMAT.len()] ^= 1;
        let cut_short = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 1);
        let empty = |bytes: &mut Vec<u8>| bytes.clear();
        for damage in [&of_another_boot as &dyn Fn(&mut Vec<u8>), &cut_short, &empty] {
            let mut damaged = bytes.clone();
            damage(&mut damaged);
            fs::write(&file, damaged).unwrap();
            assert!(!start().of_before(&lease(2)).never_began(1, 5, 0));
        }
        assert!(place.page.give_up(&io::Error::other("a full disk")));
        assert!(!file.exists());
        assert!(place.begins(0) && ledger.enter(6).is_none(), "calls go on without it");
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn files_go_when_nothing_is_open_any_more() {
        let (path, start) = folder("end");
        let departures = start();
        let (first, second) = (departures.begin(&lease(1)), departures.begin(&lease(2)));
        departures.forget_others(&lease(2));
        let names = || fs::read_dir(path.join("departures")).unwrap().count();
        assert_eq!(names(), 1);
        drop(first);
        second.close();
        assert_eq!(names(), 0);
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_call_does_not_begin_where_it_can_be_neither_marked_nor_forgotten() {
        let (path, start) = folder("stuck");
        // A file that can only be read, and a folder where its name should be.
        drop(start().begin(&lease(1)));
        let folder = path.join("departures");
        let read_only = File::open(folder.join("main.1.1")).unwrap();
        let page = Some(Arc::new(Page::new(read_only, folder.clone())));
        let mut ledger = Ledger { page, free: Vec::new(), places: 0 };
        let place = ledger.enter(1).unwrap();
        assert!(!place.begins(0) && !place.begins_whole());
        // Also when it could be written again: the request has no place in it.
        fs::remove_dir_all(&folder).unwrap();
        assert!(place.begins(0) && ledger.enter(2).is_none(), "what is gone is not believed");
        fs::remove_dir_all(path).unwrap();
    }
}
