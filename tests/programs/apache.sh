# Asks the Apache of the host that is the argument in each version of HTTP, by curl, and prints what comes.
set -u
base=http://$1
for how in --http1.0 --http1.1 --http2 --http2-prior-knowledge; do
	echo "$how:"
	page=page
	# By itself this curl may end when much comes right behind the change to HTTP/2.
	[ $how != --http2 ] || page=small
	curl -sS -m 60 $how -f -o page "$base/$page" || exit
	md5sum <page
	curl -sS -m 60 $how -o /dev/null "$base/missing" -w '%{http_code}\n'
	curl -sS -m 60 $how -I "$base/$page" | tr 'A-Z\r' 'a-z ' | grep '^content-length: [1-9]'
	curl -sS -m 60 $how -d name=value "$base/$page" -o /dev/null -w '%{http_code}\n'
done
curl -sS -m 60 --http2-prior-knowledge -o /dev/null "$base/page" -w 'with prior knowledge: HTTP/%{http_version}\n'
