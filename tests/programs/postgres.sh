# Talks with the PostgreSQL of the host that is the argument, by psql, and prints what it says.
set -eu
export PGHOST=$1 PGUSER=owner PGDATABASE=postgres PGCONNECT_TIMEOUT=30
sql() { psql --no-psqlrc --quiet --no-align --tuples-only --set ON_ERROR_STOP=1 "$@"; }

echo TLS and a password:
sql -c "create user guarded password 'secret'"
guarded="user=guarded password=secret sslmode=require channel_binding=require"
sql -d "dbname=postgres $guarded" -c "select ssl, version from pg_stat_ssl where pid = pg_backend_pid()"
psql -d "dbname=postgres user=guarded password=wrong sslmode=require" -c "select 1" 2>&1 | sed 's/.*FATAL/FATAL/'

echo queries:
sql -c "create table numbers as select n, md5(n::text) from generate_series(1, 50000) n"
sql -c "select count(*), sum(n), min(md5) from numbers"

echo copies:
sql -c "\\copy (select n, repeat(md5, 4) from numbers order by n) to copied.tsv"
wc -c <copied.tsv
sql -c "create table again (n int, text text)" -c "\\copy again from copied.tsv"
sql -c "select count(*), md5(string_agg(text, '' order by n)) from again"

echo transactions:
sql <<'SQL'
begin;
delete from again where n > 10;
savepoint before;
delete from again;
rollback to before;
select count(*) from again;
rollback;
select count(*) from again;
SQL

echo notifications:
sql <<'SQL' | sed 's/PID [0-9]*/PID .../'
listen news;
\! psql -h "$PGHOST" -qc "notify news, 'from another session'"
select 1;
SQL

echo cancelling:
psql -qc "select pg_sleep(600) /* long */" 2>cancelled &
query=$!
until [ "$(sql -c "select count(*) from pg_stat_activity where state = 'active' and query like '%/* long */' and pid <> pg_backend_pid()")" = 1 ]; do :; done
kill -INT $query
wait $query || echo "it ended: $?"
cat cancelled

echo errors:
sql -c "select 1/0" || echo "it ended: $?"
psql -d nowhere -c "select 1" 2>&1 | sed 's/.*FATAL/FATAL/'
