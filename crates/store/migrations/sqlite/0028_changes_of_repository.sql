-- The changes of one repository, which a comparison of links reads for each repository.
CREATE INDEX changes_of_repository ON changes (repository) WHERE for_view = 1;
