#!/usr/bin/env bash
# Measures HTTPS with accounts three ways, side by side on loopback: nginx with TLS and a bcrypt htpasswd file before
# docker-registry, `wharfinger gateway` before the same docker-registry, and `wharfinger serve` alone.
#
#   bench/stack.sh [BINARY]        default: target/release/wharfinger
#
# Needs Debian's nginx, docker-registry, apache2-utils, wrk, curl, openssl and bc. Processor time is that of the servers:
# of the front and of what is behind it. It takes about a minute, and stops what it started.
set -euo pipefail
binary=$(realpath "${1:-target/release/wharfinger}")
scratch=$(mktemp --directory)
cd "$scratch"
started=()
trap 'kill "${started[@]}" 2>/dev/null || true; wait || true; rm -rf "$scratch"' EXIT
start() { "$@" >>log 2>&1 & started+=($!); }

password=correct-horse-battery
htpasswd -cbB -C 5 users ann $password 2>/dev/null
openssl req -newkey rsa:2048 -nodes -keyout server.key -x509 -days 30 -out server.pem -subj /CN=localhost \
    -addext subjectAltName=IP:127.0.0.1 2>/dev/null
cat >behind.yml <<Y
version: 0.1
log: {level: error}
http: {addr: '127.0.0.1:7001'}
storage: {filesystem: {rootdirectory: '$scratch/registry'}}
Y
cat >nginx.conf <<Y
user root; worker_processes 2; daemon off; pid $scratch/pid; error_log $scratch/nginx.log;
events { worker_connections 512; }
http {
  access_log off; client_max_body_size 0; client_body_temp_path $scratch/body; proxy_temp_path $scratch/proxy;
  upstream behind { server 127.0.0.1:7001; keepalive 64; }
  server {
    listen 127.0.0.1:7002 ssl; keepalive_requests 1000000;
    ssl_certificate $scratch/server.pem; ssl_certificate_key $scratch/server.key;
    location / {
      auth_basic R; auth_basic_user_file $scratch/users; proxy_pass http://behind; proxy_http_version 1.1;
      proxy_buffering off; proxy_request_buffering off; proxy_set_header Connection "";
      proxy_set_header Authorization ""; proxy_set_header Host \$http_host; proxy_set_header X-Forwarded-Proto https;
    }
  }
}
Y
start docker-registry serve behind.yml; behind=$!
start nginx -c "$scratch/nginx.conf"; nginx=$!
common=(--htpasswd users --tls-certificate server.pem --tls-key server.key --log-level warn)
start "$binary" gateway --upstream http://127.0.0.1:7001 --listen 127.0.0.1:7003 --data gateway "${common[@]}"; gateway=$!
start "$binary" serve --listen 127.0.0.1:7004 --data alone "${common[@]}"; alone=$!
ask() { curl -sSfk -u ann:$password "$@"; }
for port in 7002 7003 7004; do
    for _ in $(seq 100); do ask -o /dev/null "https://127.0.0.1:$port/v2/" 2>/dev/null && break; sleep 0.1; done
done

head -c 93000000 /dev/urandom >layer
printf '{"architecture":"amd64","os":"linux"}' >config
digest() { echo "sha256:$(sha256sum "$1" | cut -d' ' -f1)"; }
push() {
    local file next
    for file in layer config; do
        next=$(ask -D - -o /dev/null -X POST "$1/v2/ann/app/blobs/uploads/" | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
        case $next in /*) next=$1$next ;; esac
        case $next in *\?*) next+='&' ;; *) next+='?' ;; esac
        ask -o /dev/null -T $file -H 'Content-Type: application/octet-stream' "${next}digest=$(digest $file)"
    done
    printf '{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"%s","digest":"%s","size":%s},"layers":[{"mediaType":"%s","digest":"%s","size":93000000}]}' \
        application/vnd.oci.image.manifest.v1+json application/vnd.oci.image.config.v1+json "$(digest config)" \
        "$(stat -c %s config)" application/vnd.oci.image.layer.v1.tar "$(digest layer)" >manifest
    ask -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' --data-binary @manifest \
        "$1/v2/ann/app/manifests/1"
}
push https://127.0.0.1:7003
push https://127.0.0.1:7004

authorization="Authorization: Basic $(printf 'ann:%s' $password | base64)"
accept='Accept: application/vnd.oci.image.manifest.v1+json'
ticks() {
    local pid total=0
    for pid in "$@" $(for parent in "$@"; do pgrep -P "$parent" || true; done); do
        total=$((total + $(cut -d')' -f2 "/proc/$pid/stat" | awk '{print $12 + $13}')))
    done
    echo $total
}
measure() {
    local name=$1 port=$2 before after begun ended blob
    shift 2
    wrk -t1 -c32 -d5 -H "$authorization" -H "$accept" "https://127.0.0.1:$port/v2/ann/app/manifests/1" |
        awk -v name="$name" '/Requests.sec/ {print name ": manifests/s " $2} /Non-2xx/ {print name ": WRONG ANSWERS " $0}'
    blob=$(digest layer)
    before=$(ticks "$@"); begun=$(date +%s.%N)
    for _ in $(seq 12); do ask -o /dev/null "https://127.0.0.1:$port/v2/ann/app/blobs/$blob"; done
    ended=$(date +%s.%N); after=$(ticks "$@")
    printf '%s: blob %.2f GB/s, %.2f CPU s/GB\n' "$name" "$(bc -l <<<"12 * 0.093 / ($ended - $begun)")" \
        "$(bc -l <<<"($after - $before) / $(getconf CLK_TCK) / (12 * 0.093)")"
}
for _ in 1 2; do
    measure 'nginx before docker-registry' 7002 $nginx $behind
    measure 'gateway before docker-registry' 7003 $gateway $behind
    measure 'wharfinger alone' 7004 $alone
done
