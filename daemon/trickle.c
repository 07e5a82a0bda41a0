/* trickle.c - SQLite's pwrite, with the pages written out as it goes. */
#include "daemon/trickle.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <unistd.h>

/* 32 pages of 4 KB, 1 ms of the disk: with 16 the checkpoint itself takes longer,
 * with 64 a commit beside it (NOTES.md). */
#define PIECE_BYTES (128 << 10)

typedef ssize_t (*write_fn)(int fd, const void *p, size_t n, off64_t at);

static write_fn below;

struct run {
	bool on;
	int error;          /* of the write-out that failed; 0: none */
	int fd;             /* where it was written to last */
	size_t n;           /* what is not written out yet */
	off64_t begin, end; /* all of that stands in here */
};

static __thread struct run run;

/* Where the call is not there, or a sandbox forbids it, the sync writes the pages. */
static bool
is_missing(int error)
{
	return error == ENOSYS || error == EPERM;
}

/* The error is this descriptor's, and it gives it once: whoever syncs next would
 * not learn of it (file_check_and_advance_wb_err in Linux's mm/filemap.c).  It may
 * be any: the device's, as ENODATA for a bad sector, on file systems that pass it
 * on (blk_errors in block/blk-core.c, iomap_finish_ioend in fs/iomap). */
static int
write_out(void)
{
	int rc = sync_file_range(run.fd, run.begin, run.end - run.begin,
	    SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
		SYNC_FILE_RANGE_WAIT_AFTER);

	run.n = 0;
	if (rc == 0 || is_missing(errno))
		return 0;
	run.error = errno;
	return -1;
}

static ssize_t
write_some(int fd, const void *p, size_t n, off64_t at)
{
	ssize_t written = below(fd, p, n, at);

	if (!run.on || written <= 0)
		return written;
	if (run.n == 0 || fd != run.fd) {
		run.fd = fd;
		run.n = 0;
		run.begin = at;
		run.end = at;
	}
	run.n += (size_t)written;
	if (at < run.begin)
		run.begin = at;
	if (at + written > run.end)
		run.end = at + written;
	if (run.n >= PIECE_BYTES && write_out() < 0)
		return -1;
	return written;
}

/* sqlite.org/c3ref/vfs.html, xSetSystemCall: the unix VFSes share one table.  A
 * build that has neither call writes in another way, and nothing trickles. */
void
trickle_install(void)
{
	static const char *const names[] = { "pwrite64", "pwrite" };
	sqlite3_vfs *vfs = sqlite3_vfs_find("unix");

	for (int i = 0; i < 2 && !below && vfs && vfs->iVersion >= 3; i++) {
		below = (write_fn)vfs->xGetSystemCall(vfs, names[i]);
		if (below)
			vfs->xSetSystemCall(
			    vfs, names[i], (sqlite3_syscall_ptr)write_some);
	}
}

void
trickle_begin(void)
{
	run.on = true;
	run.error = 0;
	run.n = 0;
}

int
trickle_end(void)
{
	run.on = false;
	return -run.error;
}
