-- The media types that a webhook of an owner gets, as JSON. Empty: all.
ALTER TABLE webhooks ADD COLUMN media_types TEXT COLLATE "C" NOT NULL DEFAULT '[]';
