-- The state of an upload that only its blob store understands, such as the parts in an object store. Empty for files.
ALTER TABLE uploads ADD COLUMN backend TEXT NOT NULL DEFAULT '';
