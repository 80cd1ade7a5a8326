-- What confirms opt-outs is a campaign that nobody made: in no list, as its tasks are in none.
ALTER TABLE campaigns ADD COLUMN hidden boolean NOT NULL DEFAULT false;
-- The campaign of an account's sender and text is looked up when somebody opts out.
CREATE INDEX campaigns_hidden ON campaigns (account, sender) WHERE hidden;
