-- The vendors' templates as they were last listed or told of, what vendors tell of templates, numbers and accounts, and
-- the limits of numbers that come of it.

CREATE TABLE templates (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account     text NOT NULL,
    name        text NOT NULL,
    language    text NOT NULL,
    category    smallint,                           -- as campaigns.category; none: a word that is not known
    status      smallint NOT NULL,                  -- 1 pending, 2 approved, 3 rejected, 4 paused, 5 disabled, 6 other
    status_word text NOT NULL,                      -- the vendor's
    components  jsonb NOT NULL,                     -- WhatsApp's form
    quality     text,                               -- the vendor's word
    reason      text,                               -- why it is rejected, paused or disabled
    vendor_id   text,                               -- of the template
    by_hand     boolean NOT NULL,                   -- entered here: the vendor has no call for it
    synced_at   timestamptz,                        -- when the vendor last listed it
    gone_at     timestamptz,                        -- since when the vendor does not list it any more
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    UNIQUE (account, name, language)
);

-- What vendors told by callback of templates, numbers and accounts; the newest of each account are kept.
CREATE TABLE vendor_events (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account     text NOT NULL,
    kind        smallint NOT NULL,                  -- 1 template, 2 template_quality, 3 number, 4 account, 5 other
    subject     text NOT NULL,                      -- 'name/language', the business number, or ''
    event       text NOT NULL,                      -- the vendor's word
    detail      text,                               -- what else it says
    fingerprint text NOT NULL,                      -- of what is told and when: the same again is a repetition
    told_at     timestamptz,                        -- by the vendor's clock
    received_at timestamptz NOT NULL,
    outcome     text,                               -- what was done about it
    UNIQUE (account, fingerprint)
);
CREATE INDEX vendor_events_newest ON vendor_events (account, id DESC);
CREATE INDEX vendor_events_subject ON vendor_events (account, kind, subject);

-- What a vendor last told of a business number.
CREATE TABLE sender_limits (
    account          text NOT NULL,
    sender           text NOT NULL,                 -- as the configuration writes it
    daily_recipients integer,                       -- of the tier; none: unlimited, or not told
    tier             text,                          -- the vendor's word
    quality          text,                          -- the vendor's word
    told_at          timestamptz NOT NULL,
    PRIMARY KEY (account, sender)
);
