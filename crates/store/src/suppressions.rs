//! Numbers that get nothing, from any account. Checked at every taking (see `intents`).

use chrono::{DateTime, TimeDelta, Utc};
use model::Phone;
use sqlx::{FromRow, PgConnection};

use crate::{Error, Result, sql};

/// Why a number is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i16)]
pub enum Reason {
    /// The person asked for it: no marketing.
    OptOut = 1,
    /// It cannot be reached.
    Invalid = 2,
    /// An operator listed it.
    Manual = 3,
    /// The person complained.
    Complaint = 4,
}

impl Reason {
    /// The reason that the database keeps as `number`.
    #[must_use]
    pub fn from_i16(number: i16) -> Option<Self> {
        [Self::OptOut, Self::Invalid, Self::Manual, Self::Complaint]
            .into_iter()
            .find(|reason| *reason as i16 == number)
    }
}

/// A listed number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppression {
    /// The number.
    pub phone: Phone,
    /// Why.
    pub reason: Reason,
    /// Who listed it.
    pub source: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
}

#[derive(FromRow)]
struct SuppressionRow {
    phone: i64,
    reason: i16,
    source: String,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
}

impl TryFrom<SuppressionRow> for Suppression {
    type Error = Error;

    fn try_from(row: SuppressionRow) -> Result<Self> {
        let phone = u64::try_from(row.phone)
            .ok()
            .and_then(Phone::from_digits)
            .ok_or_else(|| Error::contradiction("suppressions", "phone", "(one row)", "no phone number"))?;
        let reason = Reason::from_i16(row.reason)
            .ok_or_else(|| Error::contradiction("suppressions", "reason", phone.masked(), row.reason))?;
        Ok(Self { phone, reason, source: row.source, created_at: row.created_at, expires_at: row.expires_at })
    }
}

/// What narrows a list of numbers.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Listed for any of these reasons; empty: all.
    pub reasons: Vec<Reason>,
    /// Listed by this source.
    pub source: Option<String>,
    /// This number.
    pub phone: Option<Phone>,
}

/// A page of the numbers that are listed now, in their order.
///
/// # Errors
/// The database did not do it.
pub async fn list(
    conn: &mut PgConnection,
    filter: &Filter,
    now: DateTime<Utc>,
    after: Option<i64>,
    limit: i64,
) -> Result<Vec<Suppression>> {
    let rows: Vec<SuppressionRow> = sql::query_as(
        "SELECT phone, reason, source, created_at, expires_at FROM suppressions
         WHERE (cardinality($1::smallint[]) = 0 OR reason = ANY ($1)) AND ($2::bigint IS NULL OR phone = $2)
           AND ($3::text IS NULL OR source = $3)
           AND (expires_at IS NULL OR expires_at > $4) AND phone > $5
           -- What stands where a phone was erased is nobody's number.
           AND phone <> 999000000000000
         ORDER BY phone LIMIT $6",
    )
    .bind(filter.reasons.iter().map(|reason| *reason as i16).collect::<Vec<_>>())
    .bind(filter.phone.map(Phone::as_i64))
    .bind(filter.source.as_deref())
    .bind(now)
    .bind(after.unwrap_or(0))
    .bind(limit)
    .fetch_all(conn)
    .await
    .map_err(Error::database("listing suppressions"))?;
    rows.into_iter().map(Suppression::try_from).collect()
}

/// A number to be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The number.
    pub phone: Phone,
    /// Why.
    pub reason: Reason,
    /// When it ends by itself; none: never.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Lists numbers for one reason; see [`add_all`].
///
/// # Errors
/// The database did not do it.
pub async fn add(
    conn: &mut PgConnection,
    phones: &[Phone],
    reason: Reason,
    source: &str,
    expires_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<Vec<Phone>> {
    let listings = phones.iter().map(|phone| Listing { phone: *phone, reason, expires_at }).collect();
    add_all(conn, listings, source, now).await
}

/// Lists numbers, each once: of two listings of one number the one that ends later holds. Those who were not listed before.
///
/// A number that is listed keeps its reason, unless that has expired or ends before the new one.
///
/// # Errors
/// The database did not do it.
pub async fn add_all(
    conn: &mut PgConnection,
    mut listings: Vec<Listing>,
    source: &str,
    now: DateTime<Utc>,
) -> Result<Vec<Phone>> {
    // One order for all writers, so that two of them cannot wait for each other.
    listings.sort_by_key(|one| {
        (one.phone, std::cmp::Reverse(one.expires_at.unwrap_or(DateTime::<Utc>::MAX_UTC)))
    });
    listings.dedup_by_key(|one| one.phone);
    let added: Vec<i64> = sql::query_scalar(
        "WITH listed AS (
            SELECT phone FROM suppressions
            WHERE phone = ANY ($1) AND (expires_at IS NULL OR expires_at > $5)
         ), written AS (
            INSERT INTO suppressions AS s (phone, reason, source, created_at, expires_at)
            SELECT phone, reason, $3, $5, expires_at
            FROM UNNEST($1::bigint[], $2::smallint[], $4::timestamptz[]) AS i (phone, reason, expires_at)
            ON CONFLICT (phone) DO UPDATE
            SET reason = excluded.reason, source = excluded.source,
                created_at = excluded.created_at, expires_at = excluded.expires_at
            WHERE s.expires_at <= $5
               OR (s.expires_at IS NOT NULL
                   AND (excluded.expires_at IS NULL OR excluded.expires_at > s.expires_at))
            RETURNING phone
         )
         SELECT phone FROM written WHERE phone NOT IN (SELECT phone FROM listed)",
    )
    .bind(listings.iter().map(|one| one.phone.as_i64()).collect::<Vec<_>>())
    .bind(listings.iter().map(|one| one.reason as i16).collect::<Vec<_>>())
    .bind(source)
    .bind(listings.iter().map(|one| one.expires_at).collect::<Vec<_>>())
    .bind(now)
    .fetch_all(conn)
    .await
    .map_err(Error::database("adding suppressions"))?;
    Ok(added.into_iter().filter_map(|phone| u64::try_from(phone).ok().and_then(Phone::from_digits)).collect())
}

/// Takes a number off the list; whether it was listed.
///
/// # Errors
/// The database did not do it.
pub async fn remove(conn: &mut PgConnection, phone: Phone) -> Result<bool> {
    let rows = sql::query("DELETE FROM suppressions WHERE phone = $1 AND phone <> 999000000000000")
        .bind(phone.as_i64())
        .execute(conn)
        .await
        .map_err(Error::database("removing a suppression"))?
        .rows_affected();
    Ok(rows == 1)
}

/// Takes a number off the list if it is there for `reason`; whether it was.
///
/// # Errors
/// The database did not do it.
pub async fn remove_for(conn: &mut PgConnection, phone: Phone, reason: Reason) -> Result<bool> {
    let rows = sql::query("DELETE FROM suppressions WHERE phone = $1 AND reason = $2")
        .bind(phone.as_i64())
        .bind(reason as i16)
        .execute(conn)
        .await
        .map_err(Error::database("removing a suppression"))?
        .rows_affected();
    Ok(rows == 1)
}

/// A vendor's clock may be behind ours by so much.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::seconds(60);

/// Takes numbers off the list whose people ask to be written to again, if it is there since before because they had asked for
/// the contrary.
///
/// # Errors
/// The database did not do it.
pub async fn lift_opt_outs(conn: &mut PgConnection, asked: &[(Phone, DateTime<Utc>)]) -> Result<u64> {
    if asked.is_empty() {
        return Ok(0);
    }
    // Locked in the order in which numbers are listed: two accounts must not wait for each other.
    let rows = sql::query(
        "WITH lifted AS MATERIALIZED (
            SELECT s.phone FROM suppressions s
            JOIN UNNEST($1::bigint[], $2::timestamptz[]) AS i (phone, at) ON i.phone = s.phone AND s.created_at <= i.at
            WHERE s.reason = 1 ORDER BY s.phone FOR UPDATE OF s
         )
         DELETE FROM suppressions WHERE phone = ANY (ARRAY(SELECT phone FROM lifted))",
    )
    .bind(asked.iter().map(|(phone, _)| phone.as_i64()).collect::<Vec<_>>())
    .bind(asked.iter().map(|(_, at)| *at + CLOCKS_DIFFER).collect::<Vec<_>>())
    .execute(conn)
    .await
    .map_err(Error::database("lifting opt-outs"))?
    .rows_affected();
    Ok(rows)
}
