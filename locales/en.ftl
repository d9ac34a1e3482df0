# The texts of the pages in English. Each key is also in zh.ftl.

site-description = A container registry: its repositories and images, and how to pull them.
skip = Skip to the content
nav-account = Account
nav-own = Your account
nav-admin = Administration
nav-api = API
nav-repositories = Repositories
nav-sign-in = Sign in
nav-sign-out = Sign out
crumbs = Path
pages = Pages
actions = Actions
first-page = First page
next-page = Next page
cancel = Cancel
copy = Copy
copied = Copied
description = Description

search-label = Search repositories
search-placeholder = Search repositories
search-button = Search
search-title = Search
search-matches = { $count ->
    [one] { $number } repository
   *[other] { $number } repositories
}
search-many = { $number } repositories or more
search-nothing = No repository matches. Try fewer or shorter words.
list-nothing = There is no repository here that you may see.

namespaces = Namespaces
more-namespaces = More…
column-name = Name
column-tags = Tags
column-tag = Tag
column-size = Size
column-pushed = Last push
pushed-by = by { $value }
column-platforms = Platforms
column-pulls = Pulls
sort-by = Sort by
column-pulled = Last pull
pulls-count = ({ $number })
column-step = Step
column-layer = Layer
column-type = Type
column-kind = Kind
column-change = Change

age-now = just now
age-minutes = { $count ->
    [one] { $number } minute ago
   *[other] { $number } minutes ago
}
age-hours = { $count ->
    [one] { $number } hour ago
   *[other] { $number } hours ago
}
age-days = { $count ->
    [one] { $number } day ago
   *[other] { $number } days ago
}
age-months = { $count ->
    [one] { $number } month ago
   *[other] { $number } months ago
}
age-years = { $count ->
    [one] { $number } year ago
   *[other] { $number } years ago
}

empty-title = This registry is empty
empty-intro = Push a first image from any machine with docker:
empty-account-title = No repositories for you yet
empty-account = You see only the repositories that you may pull. An administrator or an owner can grant you more, or push an image of your own:
empty-public-title = No public repositories
empty-signed-out = Sign in to see the repositories that you may pull.
empty-login = Log in
empty-tag = Give an image a name in this registry
empty-push = Push it
empty-accounts = Accounts
empty-accounts-text = This registry has no accounts: everybody who reaches it may do everything. The operator creates the first administrator on the server:

kind-image = Image
kind-index = Image for several platforms
kind-chart = Helm chart
kind-signature = Signature
kind-sbom = SBOM
kind-attestation = Attestation
kind-cache = Build cache
kind-artifact = Artifact

pull-title = Pull
trust-docker-http = This registry speaks plain HTTP. Add this to /etc/docker/daemon.json, and restart docker:
trust-certificate = The certificate of this registry is self-signed. Fetch it, compare its fingerprint with the one that the server printed, and install it as root:

tags-title = Tags
tags-filter = Tags that contain
tags-no-match = No tag matches.
tags-none = This repository has no tags.
tags-count = { $count ->
    [one] { $number } tag
   *[other] { $number } tags
}
document-too-large = This manifest is too large for a page. A client can download it.
document-cut = { $count ->
    [one] 1 entry is not shown. A client can download the manifest.
   *[other] { $number } entries are not shown. A client can download the manifest.
}
public = Public
pulls-total = { $count ->
    [one] 1 pull
   *[other] { $number } pulls
}
other-tags = Also tagged
pushed = Last push
created = Created
created-unknown = unknown
refers-to = Refers to
platforms-title = Platforms
layers-title = Layers
layers-count = { $count ->
    [one] { $number } layer
   *[other] { $number } layers
}
no-layer = no layer
config-title = Configuration
config-entrypoint = Entrypoint
config-command = Command
config-directory = Working directory
config-user = User
config-ports = Ports
config-volumes = Volumes
config-signal = Stop signal
labels-title = Labels
annotations-title = Annotations
chart-title = Chart
chart-version = Version
chart-app-version = Version of the application
chart-values = Default values
files-title = Files
packages = Packages
packages-count = { $count ->
    [one] { $number } package
   *[other] { $number } packages
}
referrers-title = Signatures, SBOMs and other referrers
raw-title = Manifest

compare-open = Compare tags
compare-title = Compare
compare-from = From
compare-to = To
compare-button = Compare
compare-same = Both are the same manifest.
compare-equal = Layers and configuration are the same.
compare-shared = { $count ->
    [one] { $number } shared layer
   *[other] { $number } shared layers
}
compare-removed = removed
compare-added = added
compare-only-before = Platforms only in the first:
compare-only-after = Platforms only in the second:

retag-label = Tag this as
retag-button = Add tag
delete-title = Delete
delete-tag = Delete tag
delete-manifest = Delete manifest
delete-repository = Delete repository
delete-tag-effect = The tag { $value } goes.
delete-tag-others = Its manifest { $value } stays under its other tags: { $tags }.
delete-tag-manifest = Its manifest { $value } stays, and can be pulled by this digest until garbage collection.
delete-manifest-effect = The manifest { $value } goes.
delete-manifest-tags = All tags that point to it go as well.
delete-repository-tags = { $count ->
    [one] { $number } tag goes.
   *[other] { $number } tags go.
}
delete-repository-manifests = { $count ->
    [one] { $number } manifest goes, with its layers.
   *[other] { $number } manifests go, with their layers.
}
delete-repository-shared = Layers that other repositories use stay there.
delete-confirm = Type { $value } to confirm
delete-mismatch = The text does not match. Nothing was deleted.
confirmation-mismatch = The text does not match. Nothing was changed.
delete-button = Delete

sign-in-name = Name
sign-in-password = Password
sign-in-wrong = The name or the password is wrong.
sign-in-too-many = Too many attempts. Try again in { $number } s.
sign-in-password-only = Sign in here with a password. Tokens are for programs.
sign-in-no-accounts = This registry has no accounts. Everybody who reaches it may do everything.

delete-tags-title = Delete tags
delete-tags-nothing = No tag is chosen.
delete-tags-absent = It is not there.
delete-tags-untagged = Its image stays, and can be pulled by digest until garbage collection.
delete-tags-others = Its image stays under its other tags: { $value }.
delete-tags-immutable = Immutable by the rule { $value }.
delete-tags-protected = Protected by the rule { $value }: only administrators may delete it.
delete-tags-goes = goes
delete-tags-stays = stays
delete-tags-gone = gone
delete-tags-deleted = deleted
delete-tags-result = Result
delete-tags-none-goes = None of these tags can be deleted.
delete-tags-count = { $count ->
    [one] Delete { $number } tag
   *[other] Delete { $number } tags
}
tags-deleted = { $count ->
    [one] { $number } tag was deleted.
   *[other] { $number } tags were deleted.
}
tags-kept = { $count ->
    [one] { $number } tag was not deleted.
   *[other] { $number } tags were not deleted.
}
undo-deletions = { $count ->
    [one] Undo: restore the tag
   *[other] Undo: restore { $number } tags
}
back-to-tags = Back to the tags
choose-tag = Choose { $value }
choose-all = Choose all on this page
choose-none = Choose none
delete-chosen = Delete chosen tags…
column-effect = Effect
done-undone-all = The tags are there again.
done-undone-in-part = Some tags are there again. Others could not be restored: the history of tags has their changes.
done-tag-deleted = The tag was deleted.
done-manifest-deleted = The manifest was deleted.
done-repository-deleted = The repository was deleted.
done-tagged = The tag was set.

error-forbidden = You may not do this
error-not-found = Not found
error-too-many = Too many requests
error-server = The registry has a problem
error-request = The request is not valid
error-forbidden-text = Your account has no right to do this.
error-not-found-text = It does not exist, or you may not see it.
error-too-many-text = Wait a moment, and try again.
error-server-text = Try again later. The operator finds the cause in the log by the id of the request.
error-request-text = Go back, and check what you entered.
error-path = There is no page with this address.
error-method = This address does not take this kind of request.
error-parameter = The parameter { $value } is not valid.
error-tag = This is not the name of a tag.
error-upstream = There is no upstream { $value }.
error-right-pull = You may not see this repository, or pull from it. An administrator can grant it.
error-right-push = You may not push to this repository. An administrator can grant it.
error-right-delete = You may not delete in this repository. An administrator can grant it.
error-right-administer = You may not administer this repository. An administrator can grant it.
error-right-fill = You may not fetch this repository from its upstream. An administrator can grant it.
error-cross-site = A page of { $value } may not change anything here.
error-foreign-host = This registry cannot be used by the name { $value }: it has no accounts. Use localhost or an address.
error-form-expired = This form has expired, or came from another site. Load its page again, and repeat what you did.
error-form = The form could not be read.
error-wait = Try again in { $value } seconds.
error-overloaded = The registry is busy with large requests. Try again in a moment.
error-forward = The server that checks sign-ins does not answer. Try again later.
error-unavailable = The registry cannot reach its storage. Try again later.
error-no-repository = There is no repository { $value }.
error-no-image = There is no image { $value }.
error-gone = { $value } was deleted for good. Only a push brings it back.
error-no-content = There is no content { $value }.
error-damaged = The content { $value } is damaged. Push it again, or ask the operator.
error-no-deletion = Deletion is switched off in this registry.
error-immutable = The tag { $value } cannot be changed: the rule { $rule } makes it immutable.
error-protected = Only administrators may delete the tag { $value }: the rule { $rule } protects it.
error-quota = The quota of { $value } is exceeded. Delete images or tags, or ask an administrator to raise it. Deleted images count for some time.
error-no-history = No change of the tag { $value } is recorded.
error-nothing-to-undo = There is nothing to take back for the tag { $value }.
error-not-adopted = This repository has content that was not adopted, and cannot be deleted as a whole.
error-full = The disk of the registry is full. Nothing was changed.
error-read-only = The disk of the registry cannot be written. Nothing was changed.
error-moving = The registry is moving to another storage. Images can be pulled; try changes again later.
error-busy = Too many passwords are being checked. Try again in a second.
problem-media-type = A media type is written type/subtype, such as application/vnd.oci.image.index.v1+json.
problem-namespace = This name is not available: there is content, a grant or a webhook below it.
problem-not-a-member = { $value } is not a member.
problem-last-owner = { $value } is the last owner of { $of }. Add another one first.
problem-no-user = { $value } is not a user: only users have a password, and can be administrators.
problem-password-elsewhere = This password is kept elsewhere: in the htpasswd file, or by the server that checks sign-ins.
problem-in-the-file = { $value } is in the htpasswd file. Remove the line there first.
problem-password-short = The password needs at least 8 characters.
problem-password-long = The password is longer than 1024 bytes.
problem-password-obvious = The password cannot be the own name, nor one character again and again.
problem-password-characters = A password has no line breaks and tabs.
problem-password-token = A password cannot look like a token.
problem-limit = There are { $value } already, which is the limit for one account. Remove one first.
problem-long-text = A description has at most 500 characters.
problem-registration = Ask an administrator for an account: registration is closed.
error-request-id = Request
error-repository = The repository { $value }
error-home = All repositories

administrator = Administrator
disabled = Disabled
never = never
any = any
filter = Filter
remove = Remove
remove-label = Remove { $value }
own-namespace = Owns
users = Users
version = Version
type-name-again = Type the name again to confirm
secret-once = This is shown only once. Copy it now:

password-title = Password
password-old = Present password
password-new = New password
password-again = New password again
password-effect = A new password ends all sessions. Tokens stay.
password-button = Change password
password-elsewhere = This registry does not store your password: change it where your account comes from.
password-changed = The password was changed. Sign in again with the new one.
rights-title = Rights
access-title = Who may do what, and why
access-account = Account
access-repository = Repository
access-button = Explain access
access-rights = Rights:
access-none = none
reason-no-accounts = The registry has no accounts: everybody may do everything.
reason-disabled = The account is disabled.
reason-administrator = The account is an administrator.
reason-owner = The repository is in the account's own namespace.
reason-member = The account is { $gives } of the organisation { $subject }.
reason-grant = Grant to { $subject } on { $repositories }: { $gives }.
reason-location = A rule of the operator (auth.location) for this location: { $value }.
subject-everyone = everyone
subject-accounts = all accounts
subject-account = { $value }
subject-team = the team { $value }

tokens-title = Tokens
tokens-intro = Programs use a token in place of the password. Limit each to what its program needs.
token-add = New token
token-rights = Rights (none checked: all of yours)
token-repositories = Repositories or patterns, separated by commas (empty: all)
token-days = Days until it expires (0: never)
token-made = The token was made.
token-revoked = The token was revoked.
token-revoke-effect = Programs that use this token can no longer sign in.
tokens-nothing = There are no tokens.
column-label = Label
column-limits = Limits
column-used = Last used
column-expires = Expires
no-limits = none
revoke = Revoke
revoke-label = Revoke { $value }
right-pull = Pull
right-push = Push
right-delete = Delete
right-administer = Administer
sessions-title = Signed-in browsers
session-end = End
session-end-label = End the session of { $value }
session-ended = The session was ended.
sessions-nothing = No browser is signed in.
column-browser = Browser
column-begun = Signed in
robots-title = Robots
robots-intro = A robot is an account for a program. It may do nothing until a grant says so.
robot-add = New robot
robot-name = Name, after the owner and +
robot-made = The robot was made.
robot-secret = New secret
robot-secret-label = New secret of { $value }
robot-secret-made = The robot has a new secret. The old one no longer works.
robot-removed = The robot was removed.
robot-changed = The robot was changed.
robot-secret-effect = The present secret stops working at once. Pipelines that use it can no longer sign in.
robot-remove-effect = Pipelines that use this robot can no longer sign in. Grants to it go as well.
robot-disable-effect = Pipelines that use this robot can no longer sign in until it is enabled again.

problem-name = This name is not valid.
problem-unknown = There is no such account, team or entry.
problem-taken = This name is taken.
problem-pattern = A pattern is not valid: write a name such as team/app, or one with * or **.
problem-days = The number of days must be a whole number.
problem-no-rights = Choose at least one right.
problem-denied = You may not do this.
problem-passwords-differ = The two new passwords differ.
problem-old-password = The present password is wrong.
problem-last-administrator = This is the last administrator. Make another one first.
problem-last-user = This is the last user. Without users the registry would be open to everybody.
problem-has-repositories = The account owns repositories. Remove them first, or keep them by the choice above the button.

admin-overview = Overview
health-title = Health
health-good = Storage and database answer.
health-gateway-good = Storage, database and the registry behind this gateway answer.
health-not-ready = The registry is not ready:
health-upstream-bad = The registry behind this gateway is not ready:
health-no-primary = There is no primary server. Pushes are refused, and pulls go on.
health-disk-full = The disk is full (see df -h and df -i). Pushes are refused; pulls and deletions go on.
health-reserve = Only { $free } are free on the disk, and { $reserve } are kept back (storage.reserve). Pushes are refused; pulls and deletions go on.
health-disk-read-only = The disk is read-only. Pushes and deletions are refused, and pulls go on.
health-links = { $count ->
    [one] The links of { $number } repository below repositories/ cannot be written. The log and wharfinger check tell which and why.
   *[other] The links of { $number } repositories below repositories/ cannot be written. The log and wharfinger check tell which and why.
}
health-files = { $count ->
    [one] The file of { $number } blob below blobs/ cannot be written. The log and wharfinger check tell which and why.
   *[other] The files of { $number } blobs below blobs/ cannot be written. The log and wharfinger check tell which and why.
}
schema-version = Schema of the database
certificate-hosts = Certificate for
certificate-until = Valid until
certificate-fingerprint = Fingerprint (SHA-256)
space-title = Space
space-blobs = Blobs that images need
space-images = Bytes of images
space-unreferenced = Bytes that no image needs
space-disk = Disk of the data directory
space-disk-free = { $free } free of { $total }
space-counted = The sums follow a change after seconds, or minutes with millions of blobs.
column-own-size = Only here
settings-default = Settings with their default
settings-origin-default = default
settings-title = Settings in force
column-setting = Setting
column-value = Value
column-origin = Origin

accounts-title = Accounts
account-add = New account
account-made = The account was made.
account-changed = The account was changed.
account-removed = The account was removed.
account-password = Set a password
account-remove = Remove an account
account-remove-effect = Tokens, robots, memberships and grants go with it. Images stay.
account-disable-effect = The user and its robots can no longer sign in. Sessions end; tokens do not work until the account is enabled again.
account-demote-effect = The user keeps the account, and can no longer administer the registry.
account-grants = Grants to this account
account-granted = Grants on its repositories
memberships-nothing = It is in no organisation.
account-remove-force = The account may own repositories; they stay
enable = Enable
enable-label = Enable { $value }
disable = Disable
disable-label = Disable { $value }
promote = Make administrator
promote-label = Make administrator: { $value }
demote = Remove administrator rights
demote-label = Remove administrator rights: { $value }

organisations-title = Organisations
organisations-nothing = There is no organisation that you may see.
organisation-add = New organisation
organisation-owner = First owner (empty: you)
organisation-made = The organisation was made.
organisation-changed = The organisation was changed.
organisation-describe = Change the description
organisation-remove = Remove this organisation
organisation-remove-effect = Members, teams, robots and grants to them go with it. Images stay.
members-title = Members
column-role = Role
role-reader = reader
role-writer = writer
role-maintainer = maintainer
role-owner = owner
member-set = The member was set.
member-set-button = Add or change
member-removed = The member was removed.
member-remove-effect = The user loses this role, and leaves the teams of the organisation.
teams-title = Teams
team-add = New team
team-made = The team was made.
team-remove = Remove the team
team-remove-label = Remove the team { $value }
team-removed = The team was removed.
team-remove-effect = Its members lose the rights that were granted to the team. The grants go as well.
team-member-remove-effect = The user loses the rights that were granted to the team.
team-member-add = Add to team

grants-title = Grants
grants-intro = Who may do what with your repositories. A grant to everyone makes a repository public.
grants-nothing = There are no grants.
grant-subject = Granted to
grant-repositories = Repositories
grant-rights = Rights
grant-add = New grant
grant-set = The grant was set.
grant-removed = The grant was removed.
grant-remove-effect = The rights of this grant end at once. Rights by other grants and roles stay.
grant-subject-help = Granted to: a user, a robot (acme+ci), a team (acme/devs), accounts, or everyone
grant-pattern-help = Repositories: a name or a pattern

audit-title = Audit log
audit-time = Time
audit-account = Account
audit-action = Action
audit-object = Object
audit-repository = Repository
audit-verdict = Verdict
verdict-allowed = allowed
verdict-denied = denied
verdict-failed = failed
audit-days = Last days
audit-export = Save as JSON
audit-nothing = No entry matches.
audit-older = Older entries
audit-newest = Newest entries

done-organisation-removed = The organisation was removed.

trash-open = Deleted images
trash-title = Deleted images
trash-intro = A deleted manifest can be restored with its tags until its grace period ends.
trash-nothing = No deleted image can be restored here.
trash-tags = A deleted tag whose image is still there is taken back in the history:
column-deleted = Deleted
restore = Restore
restore-label = Restore { $value }
done-restored = The image was restored with its tags.
fault-restored = The image was restored with its tags, but content of it is missing or damaged in the storage, so it cannot be pulled. Push it again, or ask the operator to run wharfinger check.
trust-fetch = Fetch the certificate, and compare its fingerprint with the one that the server printed:

history-title = History
history-nothing = No change of a tag is recorded.
history-created = created
history-deleted = deleted
undo = Undo
undo-label = Undo this change of { $value }
done-undone = The tag points to the earlier image again.
fault-undone = The tag points to the earlier image again, but content of it is missing or damaged in the storage, so it cannot be pulled. Push it again, or ask the operator to run wharfinger check.
rules-title = Rules
quotas-title = Quotas
quotas-nothing = No quota is set. Quotas are settings of the operator.
quota-of-owner = owner { $value }
quota-of-repositories = repositories { $value }
quota-of-repository = repository { $value }
quota-scope = Quota of
retention-title = Retention
retention-intro = Rules delete tags that they do not keep. A preview deletes nothing. Deleted tags can be restored until the grace period ends.
retention-none = No rule is set. Rules are settings of the operator, such as:
retention-keeps = Keeps
retention-configured = configuration
retention-server = all repositories (API)
retention-newest = { $count ->
    [one] the newest tag
   *[other] the { $number } newest tags
}
retention-newest-version = { $count ->
    [one] the highest version
   *[other] the { $number } highest versions
}
retention-pushed = pushed within { $value }
retention-pulled = pushed or pulled within { $value }
retention-preview = Preview
retention-preview-done = A run now would delete these tags:
retention-start = Run now
retention-run = The run { $value } has deleted these tags:
retention-kept = { $count ->
    [one] { $number } tag stays.
   *[other] { $number } tags stay.
}
retention-nothing = No tag is deleted.
retention-reason = Reason

duration-days = { $count ->
    [one] { $number } day
   *[other] { $number } days
}
duration-hours = { $count ->
    [one] { $number } hour
   *[other] { $number } hours
}
duration-minutes = { $count ->
    [one] { $number } minute
   *[other] { $number } minutes
}
duration-seconds = { $count ->
    [one] { $number } second
   *[other] { $number } seconds
}

list-cut = There are more than these.
column-state = State
column-owner = Owner
right-fill = Fill the cache
access-nav = Explain access

usage-owners = By owner
usage-repositories = By repository

tag-rules-title = Immutable and protected tags
tag-rules-intro = An immutable tag cannot be moved or deleted. Only administrators may delete a protected one. Rules are settings of the operator.
tag-rules-nothing = No rule is set.
tag-immutable = immutable
tag-protected = protected
tag-rules-preview = Preview a rule
tag-rules-selected = { $count ->
    [one] Such a rule selects { $number } tag.
   *[other] Such a rule selects { $number } tags.
}
tag-rules-write = To set it, write this in the configuration, with immutable or protected:

jobs-nav = Maintenance
jobs-title = Garbage collection and jobs
gc-title = Garbage collection
gc-interval = It runs in the background, with a pause of { $value }.
gc-no-interval = It does not run in the background (gc.interval = 0).
gc-running = A collection is running:
gc-last = Last collection
gc-never = No collection has run since the start.
gc-manifests = { $count ->
    [one] { $number } manifest
   *[other] { $number } manifests
}
gc-links = { $count ->
    [one] { $number } blob removed from a repository
   *[other] { $number } blobs removed from repositories
}
gc-files = { $count ->
    [one] { $number } file deleted
   *[other] { $number } files deleted
}
gc-manifests-column = Manifests
gc-kept = Kept for now
gc-deleted = Deleted images
gc-deleted-hint = They can be restored for { $value } (gc.grace).
gc-untagged = Images without a tag
gc-untagged-hint = They go { $value } after their last push or pull (gc.untagged).
gc-untagged-kept = They stay until gc.untagged is set.
gc-unused = Uploads that no image needs
gc-unused-hint = They go after registry.upload_expiry.
gc-reclaim = To reclaim the space of images without a tag, write this in the configuration:
gc-now-title = Collect now
gc-now-effect = A collection deletes the content of images whose grace period is over. It cannot be undone. A preview deletes nothing.
gc-preview = Preview
gc-run = Collect now
gc-preview-nothing = A collection now would remove nothing.
gc-preview-files = { $count ->
    [one] A collection now would delete { $number } file
   *[other] A collection now would delete { $number } files
}
gc-content = Content
removal-manifest = Manifest
removal-blob = Blob
removal-file = File
cause-deleted = It was deleted, or belonged to a deleted image.
cause-untagged = It has no tag (gc.untagged).
cause-unused = No image needs it.
cause-unreferenced = No repository holds it.
explain-title = Why is this content kept?
explain-digest = Digest of a manifest or blob
explain-button = Explain
explain-nothing = This registry has no content with this digest.
explain-goes = Nothing keeps it. It goes after { $value }.
explain-free = Nothing keeps it. The next collection removes it.
explain-until = until { $value }
link-tag = tag
link-manifest = manifest
link-subject = refers to
link-untagged = manifest without a tag
link-deleted = deleted manifest
link-blob = uploaded blob
link-upload = upload in progress
problem-digest = This is not a digest: expected sha256: and 64 hexadecimal characters.
done-gc-started = A garbage collection has begun.
background-title = Background jobs
background-nothing = No job has run since the start.
column-job = Job
column-progress = Progress
column-runs = Runs
column-last-end = Last end
job-running = running
job-failed = failed
job-waiting = idle
job-failures = { $count ->
    [one] { $number } failed
   *[other] { $number } failed
}
job-garbage-collection = Garbage collection
job-retention = Retention
job-check = Check of all content
job-backup = Backup
job-upload-expiry = Removal of expired uploads
job-repository-deletion = Deletion of repositories
job-upload-leftovers = Removal of leftovers of ended uploads
job-upstream-prefetch = Prefetch from upstreams
job-upstream-eviction = Eviction of cached content
job-metadata-shipping = Copies of the metadata to the bucket
job-move = Move to other storage

upstreams-title = Upstreams
upstreams-nothing = No upstream is configured. With one, this registry caches another, such as Docker Hub:
upstream-ok = answers
upstream-limited = asks to wait
upstream-down = down
upstream-default = default
upstream-hit-rate = Hit rate
upstream-unused = not used yet
upstream-hits = { $count ->
    [one] { $number } answer from the cache
   *[other] { $number } answers from the cache
}
upstream-misses = { $count ->
    [one] { $number } from the upstream
   *[other] { $number } from the upstream
}
upstream-stale = { $count ->
    [one] { $number } that could not be confirmed
   *[other] { $number } that could not be confirmed
}
upstream-cached = Cached
upstream-repositories = { $count ->
    [one] { $number } repository
   *[other] { $number } repositories
}
upstream-received = Received since the start
upstream-fetches = { $count ->
    [one] { $number } request
   *[other] { $number } requests
}
upstream-fills = { $count ->
    [one] { $number } being fetched
   *[other] { $number } being fetched
}
upstream-fresh = Tags stay fresh for
upstream-urls = URLs
upstream-url = URL
upstream-requests = Answers
upstream-failures = Failures
upstream-rate = Rate limit left
upstream-answers = It answers, and the credentials are accepted.
upstream-test = Test
upstream-test-label = Test { $value }
upstream-purge = Purge the cache
upstream-purge-effect = Cached content is removed, and fetched again when it is pulled.
upstream-purge-pattern = Repositories, as the upstream names them (empty: all)
upstream-purged = { $count ->
    [one] { $number } repository was removed from the cache.
   *[other] { $number } repositories were removed from the cache.
}

webhooks-title = Webhooks
webhooks-intro = A webhook sends events of repositories to a URL, at least once and in order.
webhooks-nothing = There is no webhook that you may see.
webhook-url = URL
webhook-repositories = Repositories
webhook-events = Events
webhook-deliveries = Deliveries
webhook-media-types = Media types
webhook-media-types-field = Media types, separated by commas (none: all)
webhook-media-types-help = Of manifests that are pushed or pulled: the media type, or the type of an artifact. Deletions and moves of tags have none, and are always sent.
webhook-all = all
webhook-usual = all but pulls and blobs
webhook-configured = { $value }, in the configuration
webhook-of = added by { $value }
webhook-parked = { $count ->
    [one] { $number } parked
   *[other] { $number } parked
}
webhook-pending = { $count ->
    [one] { $number } pending
   *[other] { $number } pending
}
webhook-delivered = { $count ->
    [one] { $number } delivered
   *[other] { $number } delivered
}
webhook-add = New webhook
webhook-add-effect = For repositories that you may administer. The receiver must be in the public internet.
webhook-patterns = Repositories or patterns, separated by commas
webhook-add-button = Add webhook
webhook-choose = Events (none checked: all but pulls)
webhook-format = Format
webhook-format-cloudevents = CloudEvents 1.0, structured
webhook-format-cloudevents-binary = CloudEvents 1.0, binary
webhook-format-distribution = Notifications of distribution (registry:2)
webhook-made = The webhook was added. Its deliveries are signed with this secret.
webhook-test = Send a test event
webhook-test-good = The receiver accepted the test event.
webhook-test-bad = The receiver did not accept the test event.
webhook-replay-parked = Send parked deliveries again
webhook-replayed = { $count ->
    [one] { $number } delivery is sent again.
   *[other] { $number } deliveries are sent again.
}
webhook-secret = New secret
webhook-secret-made = The webhook has a new secret. The old one also signs until the next change.
webhook-remove = Remove this webhook
webhook-remove-effect = Its deliveries go with it, also those that wait.
done-webhook-removed = The webhook was removed.
delivery-pending = pending
delivery-delivered = delivered
delivery-parked = parked
deliveries-nothing = There are no such deliveries.
column-event = Event
column-attempts = Attempts
column-answer = Answer
last-attempt = last attempt
replay = Send again
replay-label = Send again: delivery { $value }
event-push = Push
event-tag-moved = Tag created or moved
event-tag-deleted = Tag deleted
event-manifest-deleted = Manifest deleted
event-manifest-restored = Manifest restored
event-repository-deleted = Repository deleted
event-pull = Pull
problem-url = The URL is not valid: write http:// or https:// and a host in the public internet.
problem-events = An event is not known.

link-home = Home page
link-documentation = Documentation
link-source = Source code
link-readme = README

column-why = Why
why-administrator = You are an administrator.
why-owner = It is your own namespace.
why-member = You are { $role } of the organisation { $organisation }.
why-grant = It was granted to you.
why-team = It was granted to the team { $value }.
why-accounts = It was granted to all accounts.
why-everyone = It was granted to everyone: these repositories are public.
rights-more = Rights on one repository add up. Ask about a repository for the exact answer:
