-- More about the progress of a job: a JSON object.
ALTER TABLE jobs ADD COLUMN detail TEXT;
