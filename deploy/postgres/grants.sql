-- What the role of the running service may do in this schema: read and write, but never change or remove a row of the
-- ledger, the evidence or the audit. Run by the owner of the tables after each migration, by the service itself or by
-- roles.sh. The name of the service's role is in the setting wxpay.service.
DO $grants$
DECLARE
  service CONSTANT TEXT := current_setting('wxpay.service');
  -- These, whatever became of their triggers; and every table that has such a trigger.
  append_only CONSTANT TEXT[] := ARRAY['ledger', 'refund_ledger', 'evidence', 'refund_evidence', 'audit'];
  t RECORD;
  wanted TEXT[];
  has TEXT[];
BEGIN
  IF service = current_user OR pg_has_role(service, current_user, 'MEMBER') THEN
    RAISE EXCEPTION 'the role % of store.url owns the tables, or may act as their owner: give the service a role of its own (deploy/postgres/roles.sh)', service;
  END IF;
  EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), service);
  -- Tables that a later version makes.
  EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO %I',
                 current_schema(), service);
  FOR t IN
    SELECT c.oid AS id, c.relname AS name FROM pg_class AS c
    WHERE c.relnamespace = CAST(current_schema() AS regnamespace) AND c.relkind IN ('r', 'p')
      AND c.relowner = CAST(CAST(current_user AS TEXT) AS regrole)
  LOOP
    wanted := CASE
      WHEN t.name = 'seaql_migrations' THEN ARRAY['SELECT']
      WHEN t.name = ANY (append_only)
        OR EXISTS (SELECT FROM pg_trigger AS g WHERE g.tgrelid = t.id AND g.tgname = t.name || '_append_only')
        THEN ARRAY['INSERT', 'SELECT']
      ELSE ARRAY['DELETE', 'INSERT', 'SELECT', 'UPDATE']
    END;
    SELECT COALESCE(array_agg(p ORDER BY p), ARRAY[]::TEXT[]) INTO has
      FROM unnest(ARRAY['DELETE', 'INSERT', 'SELECT', 'TRUNCATE', 'UPDATE']) AS p
      WHERE has_table_privilege(service, t.id, p);
    IF has <> wanted THEN
      EXECUTE format('REVOKE ALL ON TABLE %I FROM PUBLIC, %I', t.name, service);
      EXECUTE format('GRANT %s ON TABLE %I TO %I', array_to_string(wanted, ', '), t.name, service);
    END IF;
    IF NOT 'UPDATE' = ANY (wanted) AND has_table_privilege(service, t.id, 'UPDATE, DELETE, TRUNCATE') THEN
      RAISE EXCEPTION 'the role % of store.url may change rows of % by another role that it is a member of, or as a superuser: take that away', service, t.name;
    END IF;
  END LOOP;
END
$grants$;
