# PostgreSQL at port 5432 with a new cluster, in a folder that it makes. The argument is where its programs are.
set -eu
data=$(mktemp -d "$PWD/postgres.XXXXXX")
"$1/initdb" --no-sync --auth=trust --username=owner --encoding=UTF8 --no-locale "$data" >&2
echo 'host all all all trust' >>"$data/pg_hba.conf"
exec "$1/postgres" -D "$data" -c listen_addresses='*' -c unix_socket_directories= -c fsync=off
