# plot.gp - one series of scaling.py as an SVG: rate, p99, CPU, side by side.
#
#	gnuplot -c plot.gp DATA.tsv OUT.svg TITLE XLABEL XSCALE NAMES UNIT
#
# DATA has a block for each line (two empty lines between), which begins with
# its name; the columns are x, per_s, p99_us, cpu_us.  NAMES are those names,
# each in quotes.  XSCALE is log or lin.  The background is white, so that it
# reads on dark pages too.

data = ARG1; out = ARG2; title = ARG3; xlabel = ARG4; xscale = ARG5
names = ARG6; unit = ARG7
blocks = words(names)

set terminal svg size 960,310 font "Helvetica,13" background rgb "white" \
	linewidth 1.2 dynamic
set output out
set datafile separator "\t"

dark = "#222222"
grey = "#555555"
array colour[4] = ["#0b62a4", "#d1560a", "#6b6b6b", "#2a8a3e"]
array point[4] = [7, 5, 9, 13]

set border 3 linecolor rgb grey
set tics out
set tics nomirror textcolor rgb grey
set grid xtics ytics linecolor rgb "#e2e2e2" linetype 1 linewidth 0.7
set xlabel xlabel textcolor rgb dark offset 0,0.3
set title offset 0,-0.3 textcolor rgb dark
if (xscale eq "log") {
	set logscale x
	set xtics scale 1,0 ("1" 1, "2" 2, "4" 4, "8" 8, "16" 16, "32" 32, \
		"64" 64, "256" 256)
	if (system("sort -n ".data." | tail -n 1 | cut -f 1") > 64) {
		set xtics scale 1,0 ("1" 1, "10" 10, "100" 100, "1,000" 1000, \
			"10,000" 10000)
	}
}

# one legend for all three, over them, right of the title
set label 1 title at screen 0.013,0.945 left font "Helvetica,15" \
	textcolor rgb dark
unset key
x = 0.985
do for [i=blocks:1:-1] {
	x = x - 0.0076 * strlen(word(names, i)) - 0.035
	set label 10+i word(names, i) at screen x,0.945 left offset 1,0 \
		textcolor rgb dark point pointtype point[i] pointsize 0.7 \
		linecolor rgb colour[i]
}

set multiplot layout 1,3 margins 0.055,0.975,0.205,0.78 spacing 0.085,0

set title "thousand ".unit."s per second"
set yrange [0:*]
set format y "%g"
plot for [i=1:blocks] data index i-1 using 1:($2/1e3) with linespoints \
	linecolor rgb colour[i] pointtype point[i] pointsize 0.5

unset label
set title "99 % took less than"
set logscale y
set yrange [*:*]
set ytics scale 1,0 ("10 µs" 10, "100 µs" 100, "1 ms" 1e3, "10 ms" 1e4, \
	"100 ms" 1e5, "1 s" 1e6, "10 s" 1e7)
plot for [i=1:blocks] data index i-1 using 1:3 with linespoints \
	linecolor rgb colour[i] pointtype point[i] pointsize 0.5

unset logscale y
set title "the daemon's CPU, µs per ".unit
set yrange [0:*]
set ytics scale 1,1 autofreq
plot for [i=1:blocks] data index i-1 using 1:4 with linespoints \
	linecolor rgb colour[i] pointtype point[i] pointsize 0.5

unset multiplot
