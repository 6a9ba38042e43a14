# Asks the nginx of the host that is the argument, by curl, and prints what comes.
set -u
ask() { curl -sS -m 60 "$@" || echo "it ended: $?"; }
base=http://$1 # port 80 goes without saying

curl -sSf -m 60 -o page "$base/page" || exit
md5sum <page
ask -H 'X-Marked: yes' "$base/who" -H 'Host: somebody.else'
ask -I "$base/page" | grep -iE '^(HTTP|content|accept)'
ask -r 10-19,1000- -o ranges -w '%{http_code} %{content_type}\n' "$base/page" | sed 's/boundary=.*/boundary=/'
ask --compressed -o compressed -w '%{http_code}\n' "$base/page"
cmp page compressed && echo "compressed, it is the same"
ask -z page -o /dev/null -w '%{http_code}\n' "$base/page"
ask -L -o /dev/null -w '%{num_redirects} %{http_code}\n' "$base/moved"
ask -o /dev/null -w '%{http_code}\n' "$base/missing" "$base/page" -o /dev/null
head -c 20000000 /dev/zero | ask -T - -o /dev/null -w '%{http_code}\n' "$base/put"
ask -o proxied "$base/again/page"
cmp page proxied && echo "proxied, it is the same"
# One connection for all of them, then many beside each other.
ask -o /dev/null "$base/page?[1-50]" -w '%{num_connects}\n' | sort | uniq -c
ask --no-progress-meter --parallel --parallel-max 20 -o /dev/null "$base/page?[1-200]" -w '%{http_code}\n' | sort | uniq -c
