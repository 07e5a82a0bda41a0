/* socket.h - the system calls on the connection's socket.
 *
 * Nothing here blocks but socket_wait.
 * Errors are -errno.  Any thread, its own descriptor.
 */
#ifndef CLIENT_SOCKET_H
#define CLIENT_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Microseconds of a clock that only runs forward. */
int64_t socket_now_us(void);

/* Give the process's id: getpid(2) without its system call, which would be one
 * for each call of the application.  Any thread. */
pid_t socket_get_pid(void);

/* Connect to a path (shorter than sun_path).  The descriptor closes on exec.
 * Errors: socket(2)'s and connect(2)'s; -EAGAIN when the listener's queue is
 * full. */
int socket_connect(const char *path, int *ret_fd);

/* Let the other side, and who polls for it here, know that it is over. */
void socket_end(int fd);

/* Take over a descriptor: from now on it closes on exec. */
void socket_adopt(int fd);

/* Write or read what is possible now; read into n places, one after the other.
 * Returns the number of bytes (from socket_recv 0 at the end), or -EAGAIN.  A
 * signal does not interrupt. */
ssize_t socket_send(int fd, const void *p, size_t n);
ssize_t socket_recv(int fd, struct iovec *iov, size_t n);

/* Sleep until the socket can be read (or written, if asked for) or is broken.
 * Errors: -ETIMEDOUT, -EINTR, poll(2)'s. */
int socket_wait(int fd, bool write, int64_t deadline_us);

/* What poll(2) is asked for. */
short socket_get_events(bool write);

#endif
