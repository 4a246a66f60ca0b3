#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mbedtls/platform_util.h>

#include "net/tls_inside.h"

enum { FILE_BYTES_MAX = 4 * 1024 * 1024 };

void tls_fault_set(struct tls_fault *fault, const char *format, ...)
{
	va_list args;

	if (fault == NULL)
		return;
	va_start(args, format);
	vsnprintf(fault->text, sizeof(fault->text), format, args);
	va_end(args);
}

static enum err read_all(int fd, struct tls_file *out)
{
	size_t  at = 0;
	ssize_t n;

	while (at < out->size - 1) {
		n = read(fd, out->bytes + at, out->size - 1 - at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ERR_IO;
		if (n == 0)
			break;
		at += (size_t)n;
	}
	out->bytes[at] = '\0';
	out->size = at + 1;
	return ERR_OK;
}

enum err tls_file_read(const char *path, struct tls_file *out, struct tls_fault *fault)
{
	struct stat st;
	enum err    e = ERR_IO;
	int         fd = open(path, O_RDONLY | O_CLOEXEC);

	*out = (struct tls_file){ NULL, 0 };
	if (fd < 0 || fstat(fd, &st) != 0) {
		tls_fault_set(fault, "cannot read %s: %s", path, strerror(errno));
		goto out;
	}
	if (!S_ISREG(st.st_mode) || st.st_size > FILE_BYTES_MAX) {
		tls_fault_set(fault, "%s is not a file of at most 4 MiB", path);
		goto out;
	}
	out->size = (size_t)st.st_size + 1;
	out->bytes = malloc(out->size);
	if (out->bytes == NULL) {
		e = ERR_NOMEM;
		tls_fault_set(fault, "no memory for %s", path);
		goto out;
	}
	e = read_all(fd, out);
	if (e != ERR_OK) {
		tls_fault_set(fault, "cannot read %s: %s", path, strerror(errno));
		tls_file_free(out);
	}
out:
	if (fd >= 0)
		close(fd);
	return e;
}

void tls_file_free(struct tls_file *f)
{
	if (f->bytes == NULL)
		return;
	mbedtls_platform_zeroize(f->bytes, f->size);
	free(f->bytes);
	*f = (struct tls_file){ NULL, 0 };
}

static bool has_pem(const struct tls_file *f, const char *what)
{
	return strstr((const char *)f->bytes, what) != NULL;
}

enum err tls_file_certificates(const char *path, bool all_must_parse, mbedtls_x509_crt *out,
                               struct tls_fault *fault)
{
	struct tls_file f;
	enum err        e;
	int             r;

	mbedtls_x509_crt_init(out);
	e = tls_file_read(path, &f, fault);
	if (e != ERR_OK)
		return e;
	if (!has_pem(&f, "-----BEGIN CERTIFICATE-----")) {
		tls_fault_set(fault,
		              "%s holds no PEM certificate: it must begin with "
		              "-----BEGIN CERTIFICATE-----%s",
		              path,
		              has_pem(&f, "PRIVATE KEY-----")
		                      ? " (this is a key: swap the two files?)"
		                      : "");
		tls_file_free(&f);
		return ERR_SYNTAX;
	}
	r = mbedtls_x509_crt_parse(out, f.bytes, f.size);
	tls_file_free(&f);
	if (r == MBEDTLS_ERR_X509_ALLOC_FAILED) {
		tls_fault_set(fault, "no memory for the certificates of %s", path);
		return ERR_NOMEM;
	}
	if (r < 0 || out->raw.p == NULL || (r > 0 && all_must_parse)) {
		tls_fault_set(fault, "%s: a certificate in it is damaged (-0x%04x): fetch it anew",
		              path, r < 0 ? (unsigned)-r : 0u);
		return ERR_SYNTAX;
	}
	return ERR_OK;
}

static void key_fault(struct tls_fault *fault, const char *path, const struct tls_file *f, int r)
{
	if (r == MBEDTLS_ERR_PK_PASSWORD_REQUIRED || r == MBEDTLS_ERR_PK_PASSWORD_MISMATCH ||
	    has_pem(f, "-----BEGIN ENCRYPTED"))
		tls_fault_set(fault,
		              "%s is encrypted: store it without a password "
		              "(openssl pkey -in FILE -out FILE)",
		              path);
	else if (!has_pem(f, "PRIVATE KEY-----"))
		tls_fault_set(fault, "%s holds no PEM private key%s", path,
		              has_pem(f, "-----BEGIN CERT")
		                      ? " (these are certificates: swap the two files?)"
		                      : "");
	else
		tls_fault_set(
			fault,
			"%s: the key is damaged or of a kind that is not supported (-0x%04x); "
			"RSA and ECDSA keys are",
			path, (unsigned)-r);
}

enum err tls_file_key(const char *path, mbedtls_pk_context *out, struct tls_fault *fault)
{
	struct tls_file f;
	enum err        e;
	int             r;

	mbedtls_pk_init(out);
	e = tls_file_read(path, &f, fault);
	if (e != ERR_OK)
		return e;
	r = mbedtls_pk_parse_key(out, f.bytes, f.size, NULL, 0, mbedtls_psa_get_random,
	                         MBEDTLS_PSA_RANDOM_STATE);
	if (r != 0) {
		key_fault(fault, path, &f, r);
		e = r == MBEDTLS_ERR_PK_ALLOC_FAILED ? ERR_NOMEM : ERR_SYNTAX;
	}
	tls_file_free(&f);
	return e;
}
