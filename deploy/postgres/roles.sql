-- The part of roles.sh before grants.sql, as an administrator. The variables service, owner, service_password and
-- owner_password are psql's.
BEGIN;
SET LOCAL lock_timeout = '2s';
SET LOCAL client_min_messages = warning;
-- Statements with passwords stay out of the server's log.
SET LOCAL log_min_duration_statement = -1;
SET LOCAL log_min_error_statement = panic;
SET LOCAL log_statement = 'none';
SELECT set_config('wxpay.service', :'service', TRUE) AS service, set_config('wxpay.owner', :'owner', TRUE) AS owner
\gset said_
SELECT format('CREATE ROLE %I LOGIN', name) FROM unnest(ARRAY[:'service', :'owner']) AS name
WHERE NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = name)
\gexec
ALTER ROLE :"service" LOGIN NOCREATEDB NOCREATEROLE PASSWORD :'service_password';
ALTER ROLE :"owner" LOGIN NOCREATEDB NOCREATEROLE PASSWORD :'owner_password';
GRANT CREATE, USAGE ON SCHEMA public TO :"owner";
REVOKE CREATE ON SCHEMA public FROM PUBLIC, :"service";
DO $move$
DECLARE
  owner CONSTANT TEXT := current_setting('wxpay.owner');
  -- What belongs to another application in the same schema stays as it is.
  before CONSTANT OID := (SELECT relowner FROM pg_class
                          WHERE relnamespace = CAST('public' AS regnamespace) AND relname = 'seaql_migrations');
  t RECORD;
BEGIN
  FOR try IN 1..30 LOOP
    -- A running service locks its tables in another order. What this try has locked is free again when it fails.
    BEGIN
      -- Sequences of identity columns go with their tables.
      FOR t IN
        SELECT c.relname AS name, CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS kind FROM pg_class AS c
        WHERE c.relnamespace = CAST('public' AS regnamespace) AND c.relkind IN ('r', 'p', 'v')
          AND c.relowner = before AND pg_get_userbyid(c.relowner) <> owner
          AND NOT EXISTS (SELECT 1 FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
      LOOP
        EXECUTE format('ALTER %s public.%I OWNER TO %I', t.kind, t.name, owner);
      END LOOP;
      FOR t IN
        SELECT CAST(p.oid AS regprocedure) AS name FROM pg_proc AS p
        WHERE p.pronamespace = CAST('public' AS regnamespace) AND p.proowner = before
          AND pg_get_userbyid(p.proowner) <> owner
          AND NOT EXISTS (SELECT 1 FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')
      LOOP
        EXECUTE format('ALTER ROUTINE %s OWNER TO %I', t.name, owner);
      END LOOP;
      EXIT;
    EXCEPTION WHEN deadlock_detected OR lock_not_available THEN
      IF try = 30 THEN
        RAISE;
      END IF;
      PERFORM pg_sleep(0.5);
    END;
  END LOOP;
END
$move$;
SET LOCAL ROLE :"owner";
