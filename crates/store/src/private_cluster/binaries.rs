//! Finds PostgreSQL's server programs: the configured folder, else the newest packaged version, else the search path.
//! A cluster that exists already decides the version. Links are followed, because the programs look for their own
//! files beside the real place.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::ClusterError;

/// Where packages put one folder per major version.
const PACKAGED: [&str; 3] = ["/usr/lib/postgresql", "/usr/local/lib/postgresql", "/opt/postgresql"];
/// The oldest major version that campaignd's SQL runs on.
const OLDEST: u32 = 14;

/// A folder that holds `initdb` and `postgres`, and their major version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binaries {
    pub(crate) folder: PathBuf,
    pub(crate) major: u32,
}

impl Binaries {
    /// Finds the programs for the cluster in `cluster`, which need not exist yet.
    pub(crate) fn find(setting: Option<&Path>, cluster: &Path) -> Result<Self, ClusterError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let candidates = match setting {
            Some(folder) => vec![folder.to_owned()],
            None => candidates(&PACKAGED.map(PathBuf::from), &path),
        };
        let found: Vec<Self> = candidates.iter().filter_map(|folder| at(folder)).collect();
        let searched = || match setting {
            Some(folder) => folder.display().to_string(),
            None => format!("{}/*/bin and PATH", PACKAGED.join("/*/bin, ")),
        };
        choose(found, made_by(cluster), cluster)?
            .ok_or_else(|| ClusterError::NoBinaries { searched: searched() })
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

fn choose(
    found: Vec<Binaries>,
    made_by: Option<u32>,
    cluster: &Path,
) -> Result<Option<Binaries>, ClusterError> {
    let Some(first) = found.first().cloned() else { return Ok(None) };
    if let Some(made_by) = made_by {
        let mismatch =
            || ClusterError::VersionMismatch { cluster: cluster.to_owned(), made_by, found: first.major };
        return found.into_iter().find(|one| one.major == made_by).map(Some).ok_or_else(mismatch);
    }
    match found.into_iter().find(|one| one.major >= OLDEST) {
        Some(usable) => Ok(Some(usable)),
        None => Err(ClusterError::TooOld { folder: first.folder, found: first.major }),
    }
}

/// The major version that made an existing cluster.
fn made_by(cluster: &Path) -> Option<u32> {
    fs::read_to_string(cluster.join("PG_VERSION")).ok()?.trim().parse().ok()
}

/// Folders worth a look, best first: packaged ones from the newest down, then the search path.
fn candidates(packaged: &[PathBuf], path: &OsStr) -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = packaged
        .iter()
        .filter_map(|root| fs::read_dir(root).ok())
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort_by_key(|(major, _)| std::cmp::Reverse(*major));
    let on_path = std::env::split_paths(path).filter(|folder| folder.is_absolute());
    versions.into_iter().map(|(_, folder)| folder).chain(on_path).collect()
}

/// The programs in `folder`, when both are there and tell their version.
fn at(folder: &Path) -> Option<Binaries> {
    let postgres = fs::canonicalize(folder.join("postgres")).ok()?;
    let real = postgres.parent()?;
    let folder = if real.join("initdb").is_file() { real } else { folder };
    if !folder.join("initdb").is_file() {
        return None;
    }
    let output = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
    let major = major_of(std::str::from_utf8(&output.stdout).ok()?)?;
    Some(Binaries { folder: folder.to_owned(), major })
}

/// The major version in `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)` or `… 18beta1`.
fn major_of(version: &str) -> Option<u32> {
    let number = version.split_whitespace().nth(2)?;
    let digits = number.find(|c: char| !c.is_ascii_digit()).map_or(number, |end| &number[..end]);
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private_cluster::TemporaryDataDir;

    fn binaries(folder: &str, major: u32) -> Binaries {
        Binaries { folder: PathBuf::from(folder), major }
    }

    #[test]
    fn a_version_line_gives_its_major_version() {
        assert_eq!(major_of("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n"), Some(15));
        assert_eq!(major_of("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(major_of("something else"), None);
    }

    #[test]
    fn packaged_versions_come_newest_first_and_the_search_path_last() {
        let root = TemporaryDataDir::create("binaries").unwrap();
        for version in ["9", "15", "17", "notes"] {
            fs::create_dir_all(root.path().join(version).join("bin")).unwrap();
        }
        let found = candidates(&[root.path().to_owned()], OsStr::new("/a:relative:/b"));
        let expected: Vec<PathBuf> =
            ["17/bin", "15/bin", "9/bin"].iter().map(|one| root.path().join(one)).collect();
        assert_eq!(found[..3], expected[..]);
        assert_eq!(found[3..], [PathBuf::from("/a"), PathBuf::from("/b")]);
    }

    #[test]
    fn an_existing_cluster_decides_the_version() {
        let found = vec![binaries("/17", 17), binaries("/15", 15)];
        let cluster = Path::new("/data/postgres");
        assert_eq!(choose(found.clone(), None, cluster).unwrap(), Some(binaries("/17", 17)));
        assert_eq!(choose(found.clone(), Some(15), cluster).unwrap(), Some(binaries("/15", 15)));
        let message = choose(found, Some(16), cluster).unwrap_err().to_string();
        assert!(message.contains("postgresql-16"), "{message}");
    }

    #[test]
    fn too_old_and_missing_programs_are_told_apart() {
        let cluster = Path::new("/data/postgres");
        assert!(matches!(
            choose(vec![binaries("/13", 13)], None, cluster),
            Err(ClusterError::TooOld { found: 13, .. })
        ));
        assert_eq!(choose(vec![], None, cluster).unwrap(), None);
        let message = Binaries::find(Some(Path::new("/nowhere")), cluster).unwrap_err().to_string();
        assert!(message.contains("apt-get install postgresql") && message.contains("/nowhere"), "{message}");
    }
}
