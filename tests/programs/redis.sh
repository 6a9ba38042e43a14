# Talks with the Redis of the host that is the argument, by redis-cli, and prints what it says.
set -eu
redis() { redis-cli -h "$host" "$@"; }
host=$1
redis -e set greeting hello
redis get greeting

echo pipelining:
i=0
while [ $i -lt 20000 ]; do i=$((i + 1)) && printf 'INCRBY sum %d\r\n' $i; done | redis --pipe
redis get sum

echo transactions:
printf 'MULTI\nSET a 1\nINCR a\nGET a\nEXEC\nMULTI\nSET a 9\nDISCARD\nGET a\n' | redis

echo large values:
head -c 8000000 /dev/zero | tr '\0' x | redis -x set large
redis get large | wc -c
redis getrange large 7999990 -1

echo blocking:
redis blpop list 60 >popped &
popping=$!
until [ "$(redis info clients | tr -d '\r' | sed -n 's/^blocked_clients://p')" = 1 ]; do :; done
redis rpush list item
wait $popping
cat popped

echo publishing:
redis subscribe news >heard &
subscriber=$!
until redis pubsub numsub news | grep -qx 1; do :; done
redis publish news first
redis publish news second
until grep -qx second heard; do :; done
cat heard
redis client kill type pubsub
wait $subscriber || echo "the subscriber ended: $?"

echo errors:
redis -e incr greeting || echo "it ended: $?"
