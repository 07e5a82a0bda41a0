# plot.gp - one series of scaling.py as an SVG: rate, p99, CPU, side by side.
#
#	gnuplot -c plot.gp DATA.tsv OUT.svg TITLE XLABEL XSCALE BLOCKS
#
# DATA has a block for each line (two empty lines between), which begins with
# its name; the columns are x, per_s, p99_us, cpu_us.  XSCALE is log or lin.
# The background is white, so that it reads on dark pages too.

data = ARG1; out = ARG2; title = ARG3; xlabel = ARG4; xscale = ARG5
blocks = int(ARG6)

set terminal svg size 960,300 font "Helvetica,12" background rgb "white" \
	linewidth 1.2 dynamic
set output out
set datafile separator "\t"

grey = "#555555"
array colour[4] = ["#0b62a4", "#d1560a", "#2a8a3e", "#7a3f9d"]
array point[4] = [7, 5, 9, 13]

set border 3 linecolor rgb grey
set tics nomirror textcolor rgb grey
set grid xtics ytics linecolor rgb "#e2e2e2" linetype 1 linewidth 0.7
set xlabel xlabel textcolor rgb "#222222" offset 0,0.4
if (xscale eq "log") {
	set logscale x
	set format x "%.0s%c"
	set xrange [*:*]
} else {
	set format x "%g"
}
set key noautotitle reverse Left samplen 1.5 textcolor rgb "#222222"

set multiplot layout 1,3 title title font "Helvetica,14" \
	margins 0.065,0.985,0.19,0.78 spacing 0.085,0

name(i) = columnheader(1)

set title "answers per second" offset 0,-0.4 textcolor rgb "#222222"
set format y "%.0s%c"
set yrange [0:*]
set key at graph 0.03, 0.97 top left
plot for [i=1:blocks] data index i-1 using 1:2 with linespoints \
	linecolor rgb colour[i] pointtype point[i] pointsize 0.5 \
	title columnheader(1)

unset key
set title "99 % took less than"
set logscale y
set yrange [*:*]
set format y "%.0s%cs"
plot for [i=1:blocks] data index i-1 using 1:($3/1e6) with linespoints \
	linecolor rgb colour[i] pointtype point[i] pointsize 0.5

unset logscale y
set title "the daemon's CPU per answer, µs"
set yrange [0:*]
set format y "%g"
plot for [i=1:blocks] data index i-1 using 1:4 with linespoints \
	linecolor rgb colour[i] pointtype point[i] pointsize 0.5

unset multiplot
