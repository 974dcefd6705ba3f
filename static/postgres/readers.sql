-- A role that reads the views and nothing else: no tokens, no keys, no spool. Run it as the owner of
-- the tables, after `sillage migrate`, and again after an upgrade that adds views:
--
--     psql "$DATABASE_URL" -v ON_ERROR_STOP=1 -f readers.sql
--     psql "$DATABASE_URL" -c "create role ada login password '…' in role sillage_readers"
--
-- Views read the tables as their owner does, so the role needs no right on a table.
do $$
begin
    if not exists (select from pg_roles where rolname = 'sillage_readers') then
        create role sillage_readers nologin;
    end if;
end
$$;
grant usage on schema public to sillage_readers;
do $$
declare
    name text;
begin
    for name in
        select table_name from information_schema.views
        where table_schema = 'public'
          and (table_name like 'readable\_%' or table_name like 'v\_%' or table_name = 'hit_horizon')
    loop
        execute format('grant select on public.%I to sillage_readers', name);
    end loop;
end
$$;
