# PostgreSQL at port 5432 with a new cluster, in a folder that it makes. The argument is where its programs are.
set -eu
data=$(mktemp -d "$PWD/postgres.XXXXXX")
"$1/initdb" --no-sync --auth=trust --username=owner --encoding=UTF8 --no-locale "$data" >&2
{
	echo 'hostssl all guarded all scram-sha-256'
	echo 'host all owner all trust'
} >"$data/pg_hba.conf"
openssl req -x509 -new -nodes -newkey rsa:2048 -subj /CN=postgres -keyout "$data/server.key" -out "$data/server.crt" 2>/dev/null
chmod 600 "$data/server.key"
exec "$1/postgres" -D "$data" -c ssl=on -c listen_addresses='*' -c unix_socket_directories= -c fsync=off
