// Fetching into the cache what is read soon. A processor foresees what lies in one line; an output
// row goes across the rows of the image. So what the next rows of the output come to is fetched as
// whole rows of the image (slices, in 3-D), each once, a share of it with each step of the work.

// `n` numbers, of which some may not exist.
template <bool Write, class T>
STN_INLINE void fetch_lines(const T* from, int64_t n) {
  for (int64_t k = 0; k < n; k += 64 / sizeof(T)) __builtin_prefetch(from + k, Write, 2);
}
// Numbers of the output, or of its gradient, that are fetched ahead: they are gone along in order.
template <class T>
constexpr int kSoon = 2048 / sizeof(T);

template <class T, int D>
struct Fetch {
  const T* from = nullptr;  // what is fetched now: the place in the first plane,
  int64_t share = 0;        // and how much of it with each step
  int64_t reached = 0;      // the row (slice) of the image that this has come to

  // Before output row `first`: what lies before it has been fetched with the rows before.
  STN_INLINE void begin(const Points<T, D>& points, int64_t first) {
    reached = front(points, first, first ? 1 : -1);
  }
  // What output rows up to r read of planes whose pixels are `pixel` numbers apart, in so many steps.
  void advance(const Points<T, D>& points, int64_t r, const T* plane, int64_t pixel,
               int64_t steps) {
    const int64_t to = front(points, r, 1);
    const int64_t pitch = (D == 3 ? points.call.slice() : points.call.stride()) * pixel;
    from = plane + (reached < to ? reached : to) * pitch;
    const int64_t size = (reached < to ? to - reached : reached - to) * pitch;
    share = (size + steps - 1) / steps;
    reached = to;
  }
  // The share of `steps` steps, from the given one on; of a plane `apart` from the first.
  template <bool Write>
  STN_INLINE void some(int64_t apart, int64_t step, int64_t steps) const {
    if (!share) return;
    fetch_lines<Write>(from + apart + step * share, steps * share);
  }

 private:
  // The last row of the image that output row r reads, in the order in which they are come to, or
  // (`side` -1) the first one; about, and from 0 to their number.
  static STN_INLINE int64_t front(const Points<T, D>& points, int64_t r, double side) {
    const double* m = points.matrix[D - 1];
    const double middle = m[D - 1] * (D == 3 ? points.z_of(r) : points.y_of(r)) + m[D];
    double extent = fabs(m[0]) * double(points.call.p.out_size[0]) + 4;
    if (D == 3) extent += fabs(m[1]) * double(points.call.p.out_size[1]);
    const double at = middle + (m[D - 1] < 0 ? -side : side) * extent / 2;
    const double n = double(points.call.p.size[D - 1]);
    return at > 0 ? int64_t(at < n ? at : n) : 0;  // NaN is 0
  }
};
