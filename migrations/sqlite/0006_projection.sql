-- What makes the projection cheaper. Both folders hold the same names and columns.

-- A message's person is followed to the contact that it was merged into: few were, so this is small where all contacts are not. (`unique` has SQLite prefer it to the key.)
create unique index contacts_moved on contacts (id) where merged_into is not null;
