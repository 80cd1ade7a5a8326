//! The vendors' templates, as they were last listed, created here, or told of by callback.

use chrono::{DateTime, Utc};
use model::{campaign::Category, template::TemplateStatus};
use serde_json::Value;
use sqlx::{FromRow, PgConnection};

use crate::{Error, Result, sql};

/// One language of a template, as it is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// Its id here.
    pub id: i64,
    /// The account.
    pub account: String,
    /// What is known of it.
    pub known: Known,
    /// It was entered here: its vendor has no call for it.
    pub by_hand: bool,
    /// When the vendor last listed it.
    pub synced_at: Option<DateTime<Utc>>,
    /// Since when the vendor does not list it any more.
    pub gone_at: Option<DateTime<Utc>>,
    /// When it became known.
    pub created_at: DateTime<Utc>,
    /// When something about it changed.
    pub updated_at: DateTime<Utc>,
}

/// What is known of a template.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// Its name.
    pub name: String,
    /// Its language.
    pub language: String,
    /// What it is for; none: a word that is not known.
    pub category: Option<Category>,
    /// Whether it may be sent.
    pub status: TemplateStatus,
    /// The vendor's word for that.
    pub status_word: String,
    /// Its components in WhatsApp's form.
    pub components: Value,
    /// What people think of it, in the vendor's word.
    pub quality: Option<String>,
    /// Why it may not be sent.
    pub reason: Option<String>,
    /// The vendor's id of it.
    pub vendor_id: Option<String>,
}

#[derive(FromRow)]
struct TemplateRow {
    id: i64,
    account: String,
    name: String,
    language: String,
    category: Option<i16>,
    status: i16,
    status_word: String,
    components: Value,
    quality: Option<String>,
    reason: Option<String>,
    vendor_id: Option<String>,
    by_hand: bool,
    synced_at: Option<DateTime<Utc>>,
    gone_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl TryFrom<TemplateRow> for Template {
    type Error = Error;

    fn try_from(row: TemplateRow) -> Result<Self> {
        let wrong = |column, found: i16| Error::contradiction("templates", column, row.id, found);
        let category =
            row.category.map(|number| Category::from_i16(number).ok_or_else(|| wrong("category", number)));
        Ok(Self {
            known: Known {
                category: category.transpose()?,
                status: TemplateStatus::from_i16(row.status).ok_or_else(|| wrong("status", row.status))?,
                name: row.name,
                language: row.language,
                status_word: row.status_word,
                components: row.components,
                quality: row.quality,
                reason: row.reason,
                vendor_id: row.vendor_id,
            },
            id: row.id,
            account: row.account,
            by_hand: row.by_hand,
            synced_at: row.synced_at,
            gone_at: row.gone_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

macro_rules! select_templates {
    ($rest:literal) => {
        concat!(
            "SELECT id, account, name, language, category, status, status_word, components, quality, reason, vendor_id,
                    by_hand, synced_at, gone_at, created_at, updated_at
             FROM templates ",
            $rest
        )
    };
}

/// Which templates to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this account.
    pub account: Option<String>,
    /// Of this name.
    pub name: Option<String>,
    /// That may be sent, or may not.
    pub status: Option<TemplateStatus>,
}

/// A page of templates in the order in which they became known.
///
/// # Errors
/// The database did not do it.
pub async fn list(
    conn: &mut PgConnection,
    filter: &Filter,
    after: Option<i64>,
    limit: i64,
) -> Result<Vec<Template>> {
    let rows: Vec<TemplateRow> = sql::query_as(select_templates!(
        "WHERE ($1::text IS NULL OR account = $1) AND ($2::text IS NULL OR name = $2)
           AND ($3::smallint IS NULL OR status = $3) AND ($4::bigint IS NULL OR id > $4)
         ORDER BY id LIMIT $5"
    ))
    .bind(&filter.account)
    .bind(&filter.name)
    .bind(filter.status.map(|status| status as i16))
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await
    .map_err(Error::database("listing templates"))?;
    rows.into_iter().map(Template::try_from).collect()
}

/// All languages of a template.
///
/// # Errors
/// The database did not do it.
pub async fn named(conn: &mut PgConnection, account: &str, name: &str) -> Result<Vec<Template>> {
    let rows: Vec<TemplateRow> =
        sql::query_as(select_templates!("WHERE account = $1 AND name = $2 ORDER BY language"))
            .bind(account)
            .bind(name)
            .fetch_all(conn)
            .await
            .map_err(Error::database("reading a template"))?;
    rows.into_iter().map(Template::try_from).collect()
}

/// The template with this id.
///
/// # Errors
/// The database did not do it.
pub async fn get(conn: &mut PgConnection, id: i64) -> Result<Option<Template>> {
    let row: Option<TemplateRow> = sql::query_as(select_templates!("WHERE id = $1"))
        .bind(id)
        .fetch_optional(conn)
        .await
        .map_err(Error::database("reading a template"))?;
    row.map(Template::try_from).transpose()
}

/// Writes a template that was created; none when one of this name and language is there and not gone.
///
/// # Errors
/// The database did not do it.
pub async fn add(
    conn: &mut PgConnection,
    account: &str,
    new: &Known,
    by_hand: bool,
    now: DateTime<Utc>,
) -> Result<Option<i64>> {
    sql::query_scalar(
        "INSERT INTO templates AS t (account, name, language, category, status, status_word, components, vendor_id,
                                     by_hand, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)
         ON CONFLICT (account, name, language) DO UPDATE
         SET category = excluded.category, status = excluded.status, status_word = excluded.status_word,
             components = excluded.components, vendor_id = excluded.vendor_id, by_hand = excluded.by_hand,
             quality = NULL, reason = NULL, synced_at = NULL, gone_at = NULL, updated_at = excluded.updated_at
         WHERE t.gone_at IS NOT NULL
         RETURNING id",
    )
    .bind(account)
    .bind(&new.name)
    .bind(&new.language)
    .bind(new.category.map(|category| category as i16))
    .bind(new.status as i16)
    .bind(&new.status_word)
    .bind(&new.components)
    .bind(&new.vendor_id)
    .bind(by_hand)
    .bind(now)
    .fetch_optional(conn)
    .await
    .map_err(Error::database("writing a template"))
}

/// What a sync came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// Templates that were not known.
    pub added: i64,
    /// Templates of which something changed.
    pub changed: i64,
    /// Templates that the vendor does not list any more.
    pub gone: i64,
}

/// Replaces what is known of an account's templates by what its vendor lists; those that it does not list are marked.
///
/// # Errors
/// The database did not do it.
pub async fn replace(
    conn: &mut PgConnection,
    account: &str,
    listed: &[Known],
    now: DateTime<Utc>,
) -> Result<Synced> {
    // Two syncs at once would wait for each other for ever.
    sql::query("SELECT pg_advisory_xact_lock(hashtextextended('templates of ' || $1, 0))")
        .bind(account)
        .execute(&mut *conn)
        .await
        .map_err(Error::database("beginning a sync of templates"))?;
    let (added, changed) = write_listed(conn, account, listed, now).await?;
    let gone = sql::query(
        "UPDATE templates t SET gone_at = $2, updated_at = $2
         WHERE account = $1 AND gone_at IS NULL AND NOT by_hand
           AND NOT EXISTS (SELECT FROM UNNEST($3::text[], $4::text[]) AS l (name, language)
                           WHERE l.name = t.name AND l.language = t.language)",
    )
    .bind(account)
    .bind(now)
    .bind(listed.iter().map(|one| one.name.as_str()).collect::<Vec<_>>())
    .bind(listed.iter().map(|one| one.language.as_str()).collect::<Vec<_>>())
    .execute(conn)
    .await
    .map_err(Error::database("marking templates that are gone"))?
    .rows_affected();
    Ok(Synced { added, changed, gone: i64::try_from(gone).unwrap_or(i64::MAX) })
}

/// How many were new, and how many have changed. Listed twice, the last counts.
async fn write_listed(
    conn: &mut PgConnection,
    account: &str,
    listed: &[Known],
    now: DateTime<Utc>,
) -> Result<(i64, i64)> {
    let texts = |of: fn(&Known) -> Option<&str>| -> Vec<Option<String>> {
        listed.iter().map(|one| of(one).map(str::to_owned)).collect()
    };
    sql::query_as(
        "WITH listed AS (
             SELECT DISTINCT ON (name, language) *
             FROM UNNEST($2::text[], $3::text[], $4::smallint[], $5::smallint[], $6::text[], $7::jsonb[], $8::text[],
                         $9::text[], $10::text[]) WITH ORDINALITY
                  AS l (name, language, category, status, status_word, components, quality, reason, vendor_id, place)
             ORDER BY name, language, place DESC
         ), known AS (
             SELECT l.name, l.language, t.id IS NULL AS is_new,
                    (t.category, t.status, t.status_word, t.components, t.vendor_id, t.gone_at IS NULL)
                    IS DISTINCT FROM
                    (l.category, l.status, l.status_word, l.components, l.vendor_id, true) AS is_changed
             FROM listed l LEFT JOIN templates t
               ON t.account = $1 AND t.name = l.name AND t.language = l.language
         ), written AS (
             INSERT INTO templates AS t (account, name, language, category, status, status_word, components, quality,
                                         reason, vendor_id, by_hand, synced_at, created_at, updated_at)
             SELECT $1, l.name, l.language, category, status, status_word, components, quality, reason, vendor_id, false,
                    $11, $11, $11
             FROM listed l ORDER BY l.place
             ON CONFLICT (account, name, language) DO UPDATE
             SET category = excluded.category, status = excluded.status, status_word = excluded.status_word,
                 components = excluded.components, vendor_id = excluded.vendor_id, by_hand = false,
                 -- a list that is silent about quality and reason does not make them unknown
                 quality = COALESCE(excluded.quality, t.quality),
                 reason = CASE WHEN excluded.status = t.status THEN COALESCE(excluded.reason, t.reason)
                               ELSE excluded.reason END,
                 synced_at = excluded.synced_at, gone_at = NULL,
                 updated_at = CASE WHEN (t.category, t.status, t.status_word, t.components, t.vendor_id, t.gone_at IS NULL)
                                        IS DISTINCT FROM
                                        (excluded.category, excluded.status, excluded.status_word,
                                         excluded.components, excluded.vendor_id, true)
                                   THEN excluded.updated_at ELSE t.updated_at END
         )
         SELECT count(*) FILTER (WHERE is_new), count(*) FILTER (WHERE is_changed AND NOT is_new) FROM known",
    )
    .bind(account)
    .bind(texts(|one| Some(&one.name)))
    .bind(texts(|one| Some(&one.language)))
    .bind(listed.iter().map(|one| one.category.map(|category| category as i16)).collect::<Vec<_>>())
    .bind(listed.iter().map(|one| one.status as i16).collect::<Vec<_>>())
    .bind(texts(|one| Some(&one.status_word)))
    .bind(listed.iter().map(|one| &one.components).collect::<Vec<_>>())
    .bind(texts(|one| one.quality.as_deref()))
    .bind(texts(|one| one.reason.as_deref()))
    .bind(texts(|one| one.vendor_id.as_deref()))
    .bind(now)
    .fetch_one(conn)
    .await
    .map_err(Error::database("writing listed templates"))
}

/// Forgets all languages of a template; which they were.
///
/// # Errors
/// The database did not do it.
pub async fn forget(conn: &mut PgConnection, account: &str, name: &str) -> Result<Vec<String>> {
    sql::query_scalar("DELETE FROM templates WHERE account = $1 AND name = $2 RETURNING language")
        .bind(account)
        .bind(name)
        .fetch_all(conn)
        .await
        .map_err(Error::database("forgetting a template"))
}

/// A scheduled or unfinished task that uses any language of the template.
///
/// # Errors
/// The database did not do it.
pub async fn user_of(conn: &mut PgConnection, account: &str, name: &str) -> Result<Option<i64>> {
    sql::query_scalar(
        "SELECT id FROM tasks
         WHERE account = $1 AND state IN (1, 2) AND starts_with(template, $2 || '/')
         ORDER BY id LIMIT 1",
    )
    .bind(account)
    .bind(name)
    .fetch_optional(conn)
    .await
    .map_err(Error::database("looking who uses a template"))
}

/// Notes what a vendor told of a template's status. One that is not known stays unknown: nothing of it is.
///
/// # Errors
/// The database did not do it.
pub async fn set_status(
    conn: &mut PgConnection,
    account: &str,
    (name, language): (&str, &str),
    status: TemplateStatus,
    (word, reason): (&str, Option<&str>),
    now: DateTime<Utc>,
) -> Result<()> {
    sql::query(
        "UPDATE templates SET status = $4, status_word = $5, reason = $6, updated_at = $7
         WHERE account = $1 AND name = $2 AND language = $3",
    )
    .bind(account)
    .bind(name)
    .bind(language)
    .bind(status as i16)
    .bind(word)
    .bind(reason)
    .bind(now)
    .execute(conn)
    .await
    .map_err(Error::database("noting a template's status"))?;
    Ok(())
}

/// Notes what a vendor told of a template's quality.
///
/// # Errors
/// The database did not do it.
pub async fn set_quality(
    conn: &mut PgConnection,
    account: &str,
    (name, language): (&str, &str),
    quality: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    sql::query(
        "UPDATE templates SET quality = $4, updated_at = $5
         WHERE account = $1 AND name = $2 AND ($3 = '' OR language = $3)",
    )
    .bind(account)
    .bind(name)
    .bind(language)
    .bind(quality)
    .bind(now)
    .execute(conn)
    .await
    .map_err(Error::database("noting a template's quality"))?;
    Ok(())
}

/// The languages of a template that are known, or that live tasks use.
///
/// # Errors
/// The database did not do it.
pub async fn languages(conn: &mut PgConnection, account: &str, name: &str) -> Result<Vec<String>> {
    sql::query_scalar(
        "SELECT language FROM templates WHERE account = $1 AND name = $2
         UNION
         SELECT substr(template, length($2) + 2) FROM tasks
         WHERE account = $1 AND state IN (1, 2) AND starts_with(template, $2 || '/')
         ORDER BY 1",
    )
    .bind(account)
    .bind(name)
    .fetch_all(conn)
    .await
    .map_err(Error::database("reading a template's languages"))
}
