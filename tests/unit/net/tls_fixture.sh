#!/bin/sh
# usage: tls_fixture.sh DIR
#
# Makes the authorities, certificates and keys of tls_test.c with the openssl command.
set -eu
mkdir -p "$1"
cd "$1"
[ -e made ] && exit 0

config() {
	cat >ca.cnf <<-END
		[ca]
		default_ca = test
		[test]
		database = index.txt
		new_certs_dir = .
		serial = serial
		default_md = sha256
		policy = any
		copy_extensions = copy
		unique_subject = no
		[any]
		commonName = supplied
		[req]
		distinguished_name = dn
		[dn]
	END
	: >index.txt
	echo 1000 >serial
}

# key NAME ec|rsa
key() {
	if [ "$2" = rsa ]; then
		openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$1.key" 2>/dev/null ||
			openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$1.key" 2>/dev/null
	else
		openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"
	fi
}

# authority NAME
authority() {
	key "$1" ec
	openssl req -x509 -new -config ca.cnf -key "$1.key" -sha256 -days 3650 -subj "/CN=test $1" \
		-addext basicConstraints=critical,CA:TRUE -addext keyUsage=keyCertSign -out "$1.pem"
}

# certificate NAME ec|rsa SUBJECT SAN [CA [END]]
certificate() {
	key "$1" "$2"
	if [ -n "$4" ]; then
		openssl req -new -config ca.cnf -key "$1.key" -subj "/CN=$3" -addext "subjectAltName=$4" \
			-out "$1.csr"
	else
		openssl req -new -config ca.cnf -key "$1.key" -subj "/CN=$3" -out "$1.csr"
	fi
	openssl ca -batch -config ca.cnf -cert "${5:-ca}.pem" -keyfile "${5:-ca}.key" -notext \
		-startdate 20200101000000Z -enddate "${6:-20491231235959Z}" \
		-in "$1.csr" -out "$1.pem" 2>/dev/null
}

config
authority ca
authority other
cat other.pem ca.pem >both.pem
certificate a ec a.example DNS:a.example,DNS:www.a.example
certificate a_rsa rsa a.example DNS:a.example
certificate b ec b.example "DNS:b.example,DNS:*.wild.example"
certificate c ec c.example DNS:x.wild.example
certificate ip ec 127.0.0.1 "IP:127.0.0.1,IP:2001:db8::1"
certificate cn ec cn.example ""
certificate ipname ec x "DNS:127.0.0.1"
certificate old ec a.example DNS:a.example ca 20210101000000Z
certificate stranger ec a.example DNS:a.example other
openssl pkey -in a.key -aes128 -passout pass:secret -out locked.key
echo 'this is not PEM' >text
sed '3s/./!/' a.pem >damaged.pem
sed '3s/./!/' a.key >damaged.key
touch made
