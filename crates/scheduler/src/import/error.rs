//! Why an import fails as a whole. The words are what the audience shows.

/// Why an import failed; nobody was added.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The upload ended before the file did: its sender went away.
    #[error("the upload was cut off after {bytes} bytes; import the file again")]
    CutOff {
        /// Bytes that came.
        bytes: u64,
    },
    /// The upload could not be read.
    #[error("the upload could not be read: {reason}; import the file again")]
    Upload {
        /// What the connection said.
        reason: String,
    },
    /// Nothing came for too long.
    #[error("nothing of the upload came for {seconds} seconds; import the file again")]
    Stalled {
        /// How long it was waited.
        seconds: u64,
    },
    /// The file is larger than uploads may be.
    #[error(
        "the file is larger than {limit} bytes, the most that an upload may have (server.max_upload_bytes)"
    )]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// The file is empty.
    #[error("the file is empty: it must begin with a header that names its columns")]
    Empty,
    /// There is a header and nothing else.
    #[error("the file has a header and no rows")]
    NoRows,
    /// The file is something else.
    #[error("the file is {what}, not CSV: open it and save it as CSV (UTF-8)")]
    NotCsv {
        /// What it is.
        what: &'static str,
    },
    /// Two columns of one name.
    #[error(
        "the header names `{name}` twice (columns {first} and {second}): give each column a name of its own"
    )]
    DuplicateColumn {
        /// The name.
        name: String,
        /// The first column of that name, from 1.
        first: usize,
        /// The second.
        second: usize,
    },
    /// A header that cannot be a name.
    #[error("the name of column {column} is not text in a known encoding: save the file as CSV (UTF-8)")]
    UnreadableColumn {
        /// The column, from 1.
        column: usize,
    },
    /// More columns than a file may have.
    #[error("the header names {found} columns; at most {limit} are taken (is the delimiter the right one?)")]
    TooManyColumns {
        /// How many there are.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// The named phone column is not there.
    #[error("there is no column `{given}`; the header names: {columns}")]
    NoSuchPhoneColumn {
        /// The name that was given.
        given: String,
        /// The header's names.
        columns: String,
    },
    /// No column looks like the phone's.
    #[error(
        "no column is named like a phone (phone, mobile, msisdn, whatsapp, number, telephone, contact or to): \
         name it with phone_column. The header names: {columns}"
    )]
    NoPhoneColumn {
        /// The header's names.
        columns: String,
    },
    /// A record is longer than records may be.
    #[error(
        "the record that starts on line {line} is longer than {limit} bytes (is a quotation mark not closed?)"
    )]
    RecordTooLong {
        /// Where it starts.
        line: u64,
        /// The limit.
        limit: usize,
    },
    /// More recipients than can be numbered.
    #[error("the file has more than {limit} recipients: split it")]
    TooManyRows {
        /// The limit.
        limit: i32,
    },
    /// The disk did not take what memory is spared by.
    #[error(
        "a temporary file in {folder} could not be written or read: {reason}; see to the disk and import the file again"
    )]
    Disk {
        /// Where files are made.
        folder: String,
        /// What the system said.
        reason: String,
    },
    /// Somebody deleted the audience, or another process declared this import dead.
    #[error("the import was cancelled: its audience has been deleted or declared interrupted")]
    Cancelled,
    /// The process is about to end, or a task of the import did.
    #[error("the import was interrupted: import the file again")]
    Interrupted,
    /// The database did not do it. The cause is in the log, not in the audience.
    #[error("the database did not take the import; the log says why. Import the file again")]
    Database(#[from] store::Error),
}
