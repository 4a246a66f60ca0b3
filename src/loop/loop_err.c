#include "loop/inside.h"

static const struct {
	int      status;
	enum err err;
} errors[] = {
	{ UV_EOF, ERR_EOF },
	{ UV_ENOMEM, ERR_NOMEM },
	{ UV_ENOBUFS, ERR_NOMEM },
	{ UV_EMFILE, ERR_LIMIT },
	{ UV_ENFILE, ERR_LIMIT },
	{ UV_EACCES, ERR_DENIED },
	{ UV_EPERM, ERR_DENIED },
	{ UV_EADDRINUSE, ERR_EXISTS },
	{ UV_ECANCELED, ERR_CANCELLED },
	{ UV_ETIMEDOUT, ERR_TIMEOUT },
	{ UV_ECONNREFUSED, ERR_REFUSED },
	{ UV_ENOENT, ERR_REFUSED }, /* a unix socket that is not there */
	{ UV_ENETUNREACH, ERR_UNREACHABLE },
	{ UV_EHOSTUNREACH, ERR_UNREACHABLE },
	{ UV_EADDRNOTAVAIL, ERR_UNREACHABLE },
	{ UV_EAFNOSUPPORT, ERR_UNREACHABLE },
	{ UV_ECONNRESET, ERR_RESET },
	{ UV_ECONNABORTED, ERR_RESET },
	{ UV_EPIPE, ERR_RESET },
};

enum err loop_err(int uv_status)
{
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		if (errors[i].status == uv_status)
			return errors[i].err;
	}
	return ERR_IO;
}
