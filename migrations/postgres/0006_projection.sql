-- What makes the projection cheaper. Both folders hold the same names and columns.

-- A message's person is followed to the contact that it was merged into: few were, so this is small where all contacts are not.
create unique index contacts_moved on contacts (id) where merged_into is not null;

-- Keys are compared byte by byte, as SQLite does it: a language's rules of order cost more and sort them differently on each machine.
alter table contact_keys alter column field type text collate "C", alter column value type text collate "C";
alter table idempotency_keys alter column scope type text collate "C", alter column key type text collate "C";
alter table message_keys alter column key type text collate "C";
alter table page_tags alter column identifier type text collate "C";
