/* sockpath.c - the default socket path. */
#include "proto/sockpath.h"

#include <stdio.h>

#include "proto/error.h"

int
sockpath_make_default(const char *runtime_dir, uid_t uid, char *out, size_t n)
{
	int len;

	if (runtime_dir && runtime_dir[0] == '/')
		len = snprintf(out, n, "%s/sqlpoold.sock", runtime_dir);
	else
		len = snprintf(out, n, "/tmp/sqlpoold-%lu/sqlpoold.sock",
		    (unsigned long)uid);
	return len < 0 || (size_t)len >= n ? -ERR_FIELD_RANGE : 0;
}
