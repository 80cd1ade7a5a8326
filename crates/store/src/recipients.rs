//! Recipients: written once by COPY, numbered 1…n within their audience, never updated.
//!
//! COPY's binary format, because the server then parses neither numbers nor quoted arrays. Whoever begins a [`struct@Copy`] ends it
//! with `finish` or `abort`: one that is dropped leaves its connection out of step.

use bytes::{BufMut, Bytes};
use model::Phone;
use sqlx::{FromRow, PgConnection, postgres::PgCopyIn};

use crate::{Error, Result, sql};

/// One recipient of an audience.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The number within the audience, from 1.
    pub no: i32,
    /// Whom to write to.
    pub phone: Phone,
    /// The row's other columns, in the order of the audience's.
    pub vars: Vec<String>,
}

#[derive(FromRow)]
struct Row {
    no: i32,
    phone: i64,
    vars: Vec<String>,
}

impl TryFrom<Row> for Recipient {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self { no: row.no, phone: phone(row.no, row.phone)?, vars: row.vars })
    }
}

fn phone(no: i32, digits: i64) -> Result<Phone> {
    u64::try_from(digits)
        .ok()
        .and_then(Phone::from_digits)
        .ok_or_else(|| Error::contradiction("recipients", "phone", no, "no phone number"))
}

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: i16 = -1;
const TEXT_OID: u32 = 25;

/// A row's bytes before its variables: the count of columns, then each value behind its length.
const ROW_HEAD: usize = 2 + (4 + 8) + (4 + 4) + (4 + 8) + 4;
const NO_AT: usize = 2 + (4 + 8) + 4;

/// Turns recipients into the bytes that COPY takes. Pure; runs where the file is parsed. A row is encoded before it is known
/// whether it is taken and what its number is, so that its text need not wait elsewhere.
#[derive(Debug)]
pub struct CopyEncoder {
    audience_id: i64,
    buffer: Vec<u8>,
    /// Where rows end.
    ends: Vec<usize>,
    has_begun: bool,
    room: usize,
}

impl CopyEncoder {
    /// An encoder for one audience.
    #[must_use]
    pub fn new(audience_id: i64) -> Self {
        Self { audience_id, buffer: Vec::new(), ends: Vec::new(), has_begun: false, room: 0 }
    }

    /// Adds a recipient. `vars` are `count` many texts in UTF-8, free of NUL, which PostgreSQL's text cannot hold.
    pub fn push<'a>(&mut self, phone: Phone, count: usize, vars: impl Iterator<Item = &'a [u8]>) {
        let buffer = &mut self.buffer;
        let start = buffer.len();
        let mut head = [0; ROW_HEAD];
        let mut rest = head.as_mut_slice();
        rest.put_i16(4);
        rest.put_i32(8);
        rest.put_i64(self.audience_id);
        rest.put_i32(4);
        rest.put_i32(0);
        rest.put_i32(8);
        rest.put_i64(phone.as_i64());
        buffer.extend_from_slice(&head);
        // An array without elements has no dimensions either.
        buffer.put_i32(i32::from(count > 0));
        buffer.put_i32(0);
        buffer.put_u32(TEXT_OID);
        if count > 0 {
            buffer.put_i32(length(count));
            buffer.put_i32(1);
        }
        for var in vars {
            buffer.extend_from_slice(&length(var.len()).to_be_bytes());
            buffer.extend_from_slice(var);
        }
        let array_length = length(buffer.len() - start - ROW_HEAD);
        buffer[start + ROW_HEAD - 4..start + ROW_HEAD].copy_from_slice(&array_length.to_be_bytes());
        self.ends.push(buffer.len());
    }

    /// How many bytes wait to be taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether nothing waits to be taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Takes the rows that were added since the last time, numbered from behind `last_no`, without those that stand at
    /// `left_out`, which come in order.
    pub fn take(&mut self, last_no: i32, left_out: impl Iterator<Item = usize>) -> Bytes {
        let mut left_out = left_out.peekable();
        let (mut no, mut start, mut kept) = (last_no, 0, 0);
        for (at, end) in self.ends.drain(..).enumerate() {
            if left_out.next_if_eq(&at).is_none() {
                no = no.saturating_add(1);
                self.buffer[start + NO_AT..start + NO_AT + 4].copy_from_slice(&no.to_be_bytes());
                if kept < start {
                    self.buffer.copy_within(start..end, kept);
                }
                kept += end - start;
            }
            start = end;
        }
        self.buffer.truncate(kept);
        // The next rows will want as much room as these.
        self.room = self.room.max(self.buffer.len());
        let rows = std::mem::replace(&mut self.buffer, Vec::with_capacity(self.room));
        if self.has_begun {
            return rows.into();
        }
        self.has_begun = true;
        [SIGNATURE, &rows].concat().into()
    }

    /// The mark that nothing follows.
    #[must_use]
    pub fn finish(self) -> Bytes {
        let trailer = TRAILER.to_be_bytes();
        if self.has_begun { trailer.to_vec().into() } else { [SIGNATURE, &trailer].concat().into() }
    }
}

/// A record is at most some MiB long, so lengths fit.
fn length(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

/// A COPY into recipients that is under way.
#[must_use = "finish or abort it, or its connection is out of step"]
pub struct Copy<'c>(PgCopyIn<&'c mut PgConnection>);

impl<'c> Copy<'c> {
    /// Begins to write recipients on `connection`, which is to be in a transaction.
    ///
    /// # Errors
    /// The database refused.
    pub async fn begin(connection: &'c mut PgConnection) -> Result<Self> {
        connection
            .copy_in_raw("COPY recipients (audience_id, no, phone, vars) FROM STDIN (FORMAT binary)")
            .await
            .map(Self)
            .map_err(Error::database("beginning to write recipients"))
    }

    /// Sends what a [`CopyEncoder`] gave.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.0.send(chunk).await.map(drop).map_err(Error::database("writing recipients"))
    }

    /// Ends it; how many recipients were written.
    ///
    /// # Errors
    /// The database refused one of the rows, or the connection is gone.
    pub async fn finish(self) -> Result<u64> {
        self.0.finish().await.map_err(Error::database("writing recipients"))
    }

    /// Takes it all back.
    ///
    /// # Errors
    /// The connection is gone, which takes it back as well.
    pub async fn abort(self, reason: &str) -> Result<()> {
        self.0.abort(reason).await.map_err(Error::database("giving up writing recipients"))
    }
}

/// Up to `limit` recipients beyond the number `after`, in order; 0 begins.
///
/// # Errors
/// The database did not answer, or a row says what cannot be.
pub async fn page_after(
    connection: &mut PgConnection,
    audience_id: i64,
    after: i32,
    limit: i64,
) -> Result<Vec<Recipient>> {
    let rows: Vec<Row> = sql::query_as(
        "SELECT no, phone, vars FROM recipients WHERE audience_id = $1 AND no > $2 ORDER BY no LIMIT $3",
    )
    .bind(audience_id)
    .bind(after)
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(Error::database("reading recipients"))?;
    rows.into_iter().map(Recipient::try_from).collect()
}

/// Writes the few recipients of a hidden audience, in this order, all with the same values.
pub(crate) async fn write_few(
    connection: &mut PgConnection,
    audience_id: i64,
    to: &[Phone],
    vars: &[String],
) -> Result<()> {
    sql::query(
        "INSERT INTO recipients (audience_id, no, phone, vars)
         SELECT $1, no, phone, $3 FROM UNNEST($2::bigint[]) WITH ORDINALITY AS i (phone, no)",
    )
    .bind(audience_id)
    .bind(to.iter().map(|phone| phone.as_i64()).collect::<Vec<_>>())
    .bind(vars)
    .execute(connection)
    .await
    .map_err(Error::database("writing the recipients of a hidden audience"))?;
    Ok(())
}

/// The recipients of these numbers, in order of number.
///
/// # Errors
/// The database did not answer, or a row says what cannot be.
pub async fn by_nos(connection: &mut PgConnection, audience_id: i64, nos: &[i32]) -> Result<Vec<Recipient>> {
    let rows: Vec<Row> = sql::query_as(
        "SELECT no, phone, vars FROM recipients WHERE audience_id = $1 AND no = ANY ($2) ORDER BY no",
    )
    .bind(audience_id)
    .bind(nos)
    .fetch_all(connection)
    .await
    .map_err(Error::database("reading recipients by number"))?;
    rows.into_iter().map(Recipient::try_from).collect()
}

/// The phones of the recipients of these numbers, in no order: one look into the key each.
///
/// # Errors
/// The database did not answer, or a row says what cannot be.
pub async fn phones_at(connection: &mut PgConnection, audience_id: i64, nos: &[i32]) -> Result<Vec<Phone>> {
    let rows: Vec<(i32, i64)> =
        sql::query_as("SELECT no, phone FROM recipients WHERE audience_id = $1 AND no = ANY ($2)")
            .bind(audience_id)
            .bind(nos)
            .fetch_all(connection)
            .await
            .map_err(Error::database("reading phones by number"))?;
    rows.into_iter().map(|(no, digits)| phone(no, digits)).collect()
}

/// The number of the recipient with this phone. Reads the whole audience: recipients have no index by phone.
///
/// # Errors
/// The database did not answer.
pub async fn find_phone(
    connection: &mut PgConnection,
    audience_id: i64,
    phone: Phone,
) -> Result<Option<i32>> {
    sql::query_scalar("SELECT no FROM recipients WHERE audience_id = $1 AND phone = $2")
        .bind(audience_id)
        .bind(phone.as_i64())
        .fetch_optional(connection)
        .await
        .map_err(Error::database("looking a recipient up by phone"))
}

/// The numbers of the recipients with these phones. One pass over the audience, with the phones in a hash table of the
/// server's: pass many at once.
///
/// # Errors
/// The database did not answer, or a row says what cannot be.
pub async fn find_phones(
    connection: &mut PgConnection,
    audience_id: i64,
    phones: &[Phone],
) -> Result<Vec<(Phone, i32)>> {
    let digits: Vec<i64> = phones.iter().map(|phone| phone.as_i64()).collect();
    let rows: Vec<(i64, i32)> =
        sql::query_as("SELECT phone, no FROM recipients WHERE audience_id = $1 AND phone = ANY ($2)")
            // Named statements switch to a plan that hashes nothing after five calls.
            .persistent(false)
            .bind(audience_id)
            .bind(digits)
            .fetch_all(connection)
            .await
            .map_err(Error::database("looking recipients up by phone"))?;
    rows.into_iter().map(|(digits, no)| Ok((phone(no, digits)?, no))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Database;

    #[tokio::test]
    async fn what_was_copied_is_read_again() {
        let database = crate::testing::database().await;
        let pools = Database::open(&database.connect_options());
        let mut transaction = pools.general.begin().await.unwrap();
        let phone = Phone::from_digits(919_876_543_210).unwrap();
        let mut encoder = CopyEncoder::new(7);
        let rows = [vec!["Asha", "", "{a,\"b\\c\"}\n"], vec!["नमस्ते", "NULL", "\t"]];
        let again = vec!["left", "out", ""];
        for vars in [&again, &rows[0], &again, &again, &rows[1], &again] {
            encoder.push(phone, 3, vars.iter().map(|var| var.as_bytes()));
        }
        let first = encoder.take(0, [0, 2, 3, 5].into_iter());
        encoder.push(phone, 0, std::iter::empty());
        let second = encoder.take(2, std::iter::empty());

        let mut copy = Copy::begin(&mut transaction).await.unwrap();
        copy.write(first).await.unwrap();
        copy.write(second).await.unwrap();
        copy.write(encoder.finish()).await.unwrap();
        assert_eq!(copy.finish().await.unwrap(), 3);

        let read = page_after(&mut transaction, 7, 0, 10).await.unwrap();
        assert_eq!(read.iter().map(|recipient| recipient.no).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(read[0].vars, rows[0]);
        assert_eq!(read[1].vars, rows[1]);
        assert!(read[2].vars.is_empty());
        assert_eq!(by_nos(&mut transaction, 7, &[3, 2, 9]).await.unwrap(), read[1..]);
        assert_eq!(page_after(&mut transaction, 7, 1, 1).await.unwrap(), read[1..2]);
        assert_eq!(find_phones(&mut transaction, 7, &[phone]).await.unwrap().len(), 3);
        assert!(find_phone(&mut transaction, 8, phone).await.unwrap().is_none());
        transaction.rollback().await.unwrap();
    }

    #[tokio::test]
    async fn an_aborted_copy_leaves_the_connection_usable_and_nothing_behind() {
        let database = crate::testing::database().await;
        let pools = Database::open(&database.connect_options());
        let mut connection = pools.general.acquire().await.unwrap();
        let mut encoder = CopyEncoder::new(7);
        encoder.push(Phone::from_digits(919_876_543_210).unwrap(), 1, [b"x".as_slice()].into_iter());
        let mut copy = Copy::begin(&mut connection).await.unwrap();
        copy.write(encoder.take(0, std::iter::empty())).await.unwrap();
        copy.abort("test").await.unwrap();
        assert!(page_after(&mut connection, 7, 0, 10).await.unwrap().is_empty());
    }
}
