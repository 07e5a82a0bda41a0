/* sockpath.h - where the socket is when nobody says so.
 *
 * Shared by daemon, library and shell, so that they agree.  Makes paths, opens
 * nothing.  Any thread.
 */
#ifndef PROTO_SOCKPATH_H
#define PROTO_SOCKPATH_H

#include <stddef.h>
#include <sys/types.h>

/* Bytes of sockaddr_un.sun_path, unix(7). */
#define SOCKPATH_MAX 108

/* Where the system service listens: conf/sqlpoold.socket. */
#define SOCKPATH_SERVICE "/run/sqlpoold/sqlpoold.sock"

/* Write the path a user's own daemon listens on, NUL-terminated:
 * $XDG_RUNTIME_DIR/sqlpoold.sock, else /tmp/sqlpoold-UID/sqlpoold.sock (the
 * directory is to be the user's own, mode 0700).
 *
 * runtime_dir: the value of $XDG_RUNTIME_DIR, or NULL; one that is no absolute
 * path counts as unset (XDG Base Directory Specification, "Basics").
 * Errors: -ERR_FIELD_RANGE (longer than n, which is at most SOCKPATH_MAX). */
int
sockpath_make_default(const char *runtime_dir, uid_t uid, char *out, size_t n);

#endif
