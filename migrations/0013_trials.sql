-- A trial send has an audience of its own, of the few numbers that it was asked for: in no list, as its task is in none.
ALTER TABLE audiences ADD COLUMN hidden boolean NOT NULL DEFAULT false;
