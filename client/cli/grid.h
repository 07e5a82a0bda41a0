/* grid.h - the modes whose columns are aligned: column, box, table, markdown.
 *
 * They need all rows before they can print the first.  Widths count
 * characters, not cells: sqlite3 does, so a wide character shifts its row.
 * Text is cut into lines at line breaks and at style->wrap.
 */
#ifndef CLIENT_CLI_GRID_H
#define CLIENT_CLI_GRID_H

#include "client/cli/output.h"

struct grid;

/* Functions of the table of modes (output.c). */
int grid_row(struct output *o);
void grid_end_column(struct output *o);
void grid_end_box(struct output *o);
void grid_end_table(struct output *o);
void grid_end_markdown(struct output *o);

void grid_free(struct grid *grid);

#endif
