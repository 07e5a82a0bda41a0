/* fakeio.h - the socket calls of fakeserver.c, apart because <sys/socket.h> and
 * proto/msg.h both name something TYPE_BATCH.
 */
#ifndef TESTS_FAKEIO_H
#define TESTS_FAKEIO_H

#include <stddef.h>

/* A pair of connected stream sockets, closed on exec.  Errors: -errno. */
int fakeio_make_pair(int pair[2]);

/* Write n bytes, all of them, without SIGPIPE.  Errors: -errno. */
int fakeio_send(int fd, const void *p, size_t n);

/* Nothing more will come from this end; it still reads. */
void fakeio_shutdown(int fd);

#endif
