// The passes over planes: vectors go along the pixels of a row, the channels one after the other.

// Where the pixels of a run read: of whole rows, or of a part of one. They lie side by side in the
// output, so that vectors go on from row to row.
template <class T, int D>
struct Run {
  struct Group {
    int at, left;  // its first pixel in the run, and how many
    int64_t r, j;  // that pixel's row and column
    bool off;      // they all read the fill value
  };
  int64_t first, r, j;  // its first pixel in the output: the place, the row, the column
  int count = 0, careful = 0;
  bool located = false;
  alignas(64) int32_t index[kRun + kGroup];  // of the first tap
  alignas(64) T t[D][kRun + kGroup];         // the fractions
  alignas(64) T at[D][kRun + kGroup];  // the places in the output, about its centre, if `located`
  Group groups[kRun];            // those with pixels that need care: their indices are of no use

  // Calls work(first, last) for the pixels in between. There may be none, and planes too small to be
  // read without care.
  template <class F>
  STN_INLINE void for_quick(const F& work) const {
    int from = 0;
    for (int k = 0; k < careful; ++k) {
      if (from < groups[k].at) work(from, groups[k].at);
      from = groups[k].at + groups[k].left;
    }
    if (from < count) work(from, count);
  }
};

// What pixels are read with: the rows' state, and the planes of a block of channels.
template <class T, int D, int W>
struct Planar {
  const Call<T>& call;
  const int64_t b, width;
  const Strides strides;
  const Finder<T, D, W> finder;
  Points<T, D> points;
  Run<T, D> run;
  const T* planes = nullptr;  // the tensor's own, or copies
  int64_t step = 0, count = 0;
  int64_t from = 0, to = 0;  // what is copied of the slowest axis
  const bool all;  // no pixel of the output needs care
  Fetch<T, D> fetch;  // a step is a vector of pixels; the next plane, if planes are copied one by one
  T fills[kMostPlanes];
  T *copy, *rows;  // memory for copies, and for runs where they are not read or written in place

  STN_INLINE Planar(const Call<T>& call, int64_t b)
      : call(call), b(b), width(call.p.out_size[0]), strides{call.stride(), call.slice()},
        finder(call), points(call, b),
        all(finder.rules[0].clamps && !call.p.grid && !call.p.projective && points.finite()) {
    const size_t copies = call.pad ? copy_size(call, call.block) : 0;
    const size_t more = call.as_stored() ? 0 : size_t((kRun + kGroup) * call.block);
    copy = static_cast<T*>(scratch((copies + more) * sizeof(T)));
    rows = copy + copies;
  }

  // Channels [low, high), for output rows [first, last).
  STN_INLINE void open(int64_t low, int64_t high, int64_t first, int64_t last) {
    count = high - low;
    if (call.pad) {
      if (from == to) rows_read(points, first, last, from, to);
      extend(call, b, low, high, from, to, copy);
      planes = copy, step = call.copied();
      if (call.as_stored() && count == 1) {
        fetch.from = static_cast<const T*>(call.image) +
                     (call.image_of(b) * call.p.channels + high) * call.plane();
        fetch.share = (call.plane() * kLanes<T> + call.out_plane() - 1) / call.out_plane();
      }
    } else {
      step = call.plane();
      planes = static_cast<const T*>(call.image) +
               (call.image_of(b) * call.p.channels + low) * step;
      if (call.foreseen) fetch.begin(points, first);
    }
    for (int64_t c = 0; c < count; ++c) fills[c] = call.fill_of(b, low + c);
  }

  template <bool Write = false>
  STN_INLINE void foresee(const T* plane, int n, int pixels = kLanes<T>) const {
    fetch.template some<Write>(plane - planes, n / kLanes<T>, pixels / kLanes<T>);
  }

  // The `n` pixels from column j of row r on, as the next of the run. Pixels go with their group of
  // sixteen, if one needs care: which ones do does not depend on the vectors' width.
  STN_INLINE void find(int64_t r, int64_t j, int n) {
    points.row(r);
    if (run.located) locate(r, j, n);
    for (int first = 0; first < n; first += kGroup) {
      bool quick = true, off = true;
      STN_UNROLL
      for (int v = 0; v < kGroup; v += kLanes<T>) {
        Vec<T> u[D], t[D];
        Int<T> index;
        points.at(j + first + v, n - first - v, u);
        if (finder.quick(u, index, t)) {
          off = false;
        } else {
          quick = false;
          off &= finder.off(u);
          index = Int<T>{};
          for (int k = 0; k < D; ++k) t[k] = Vec<T>{};
        }
        store(run.index + run.count + first + v, index);
        STN_UNROLL
        for (int k = 0; k < D; ++k) store(run.t[k] + run.count + first + v, t[k]);
      }
      if (!quick) {
        const int left = n - first < kGroup ? n - first : kGroup;
        run.groups[run.careful++] = {run.count + first, left, r, j + first, off};
      }
    }
    run.count += n;
  }

  STN_INLINE void locate(int64_t r, int64_t j, int n) {
    const Vec<T> y = splat(T(points.y_of(r))), z = splat(T(points.z_of(r)));
    for (int k = 0; k < n; k += kLanes<T>) {
      store(run.at[0] + run.count + k, points.lanes + T(j + k));
      store(run.at[1] + run.count + k, y);
      if (D == 3) store(run.at[D - 1] + run.count + k, z);
    }
  }

  // Whole rows from row r on, or a part of one, where none does.
  STN_INLINE void find_all(int64_t r, int64_t rows, int64_t j, int n) {
    const Finder<T, D, W> rules = finder;  // in registers: nothing that is stored can change it
    Vec<T> slope[D];
    STN_UNROLL
    for (int k = 0; k < D; ++k) slope[k] = splat(points.slope_of(k));
    const Vec<T> first = points.lanes + T(j);
    for (int64_t i = 0; i < rows; ++i) {
      points.row(r + i);
      if (run.located) locate(r + i, j, n);
      Vec<T> start[D];
      STN_UNROLL
      for (int k = 0; k < D; ++k) start[k] = splat(points.start[k]);
      Vec<T> across = first;
      for (int at = run.count; at < run.count + n; at += kLanes<T>) {
        Vec<T> u[D], t[D];
        Int<T> index;
        STN_UNROLL
        for (int k = 0; k < D; ++k) u[k] = across * slope[k] + start[k];
        rules.clamped(u, index, t);
        store(run.index + at, index);
        STN_UNROLL
        for (int k = 0; k < D; ++k) store(run.t[k] + at, t[k]);
        across += kLanes<T>;
      }
      run.count += n;
    }
  }

  // Calls work() for the runs of rows [first, last).
  template <class F>
  STN_INLINE void for_runs(int64_t first, int64_t last, const F& work) {
    if (call.alone && run.count) return work();  // found for the plane before
    int64_t r = first, j = 0;
    while (r < last) {
      run.count = run.careful = 0;
      run.first = r * width + j, run.r = r, run.j = j;
      do {
        const int64_t fitting = (kRun - run.count) / width, left = last - r;
        const int64_t rows = j || fitting < 1 ? 1 : all ? (fitting < left ? fitting : left) : 1;
        const int n = int(width - j < kRun ? width - j : kRun);
        if (all) {
          find_all(r, rows, j, n);
        } else {
          find(r, j, n);
        }
        j = j + n < width ? j + n : 0;
        r += j ? 0 : rows;
      } while (r < last && j == 0 && run.count + width <= kRun);
      // whole vectors read on behind the run
      store_group(run.index + run.count, 0);
      for (int k = 0; k < D && run.located; ++k) store_group(run.at[k] + run.count, T(0));
      if (call.foreseen) {
        const int64_t vectors = (run.count + kLanes<T> - 1) / kLanes<T>;
        fetch.advance(points, r + kAhead, planes, 1, vectors);
      }
      work();
    }
  }
  template <class I>
  static STN_INLINE void store_group(I* to, I value) {
    for (int k = 0; k < kGroup; ++k) to[k] = value;
  }

  // Where the run is in channel c of those from `low` on of a tensor like the output, as_stored.
  STN_INLINE int64_t place(int64_t c) const {
    return (b * call.p.channels + c) * call.out_plane() + run.first;
  }
  // The run in a tensor like the output; where it is, or a copy of it.
  STN_INLINE const T* run_of(const void* tensor, int64_t low, int64_t& run_step) {
    if (call.as_stored()) {
      run_step = call.out_plane();
      return static_cast<const T*>(tensor) + place(low);
    }
    stored_pixels<T, false>(call, tensor, call.out_plane(), b, run.first, run.count, low,
                            low + count, rows, Steps{1, kRun + kGroup});
    run_step = kRun + kGroup;
    return rows;
  }
};

// Pixels [first, last) of the run.
template <class T, int D, int W, bool Gather>
STN_INLINE void forward_quickly(const Planar<T, D, W>& p, int first, int last, const T* plane,
                                T* to) {
  for (int n = first; n < last; n += kLanes<T>) {
    Vec<T> t[D], values[kTaps<D, W>];
    for (int k = 0; k < D; ++k) t[k] = load<Vec<T>>(p.run.t[k] + n);
    const Weights<T, D, W> weights(t, false);
    p.foresee(plane, n);
    load_taps<T, D, W, Gather>(p.strides, p.run.index + n, plane, values);
    __builtin_prefetch(to + n + kSoon<T>, 1, 2);
    store_some(to + n, weighted<Vec<T>, D, W>(values, weights.w), last - n);
  }
}
// `left` pixels, at most a vector.
template <class T, int D, int W>
void forward_carefully(const Planar<T, D, W>& p, const Vec<T>* u, T* to, int64_t to_step,
                       int left) {
  Taps<T, D> taps;
  p.finder.careful(u, taps);
  const Weights<T, D, W> weights(taps.t, false);
  const Indices<T> indices(taps.index);
  EdgeTaps<T, D, W> edge(p.call);
  if (!p.call.pad && !edge.find(p.call, taps)) {
    for (int64_t c = 0; c < p.count; ++c) store_some(to + c * to_step, splat<T>(p.fills[c]), left);
    return;
  }
  for (int64_t c = 0; c < p.count; ++c) {
    Vec<T> values[kTaps<D, W>];
    if (p.call.pad) {
      load_taps<T, D, W>(p.strides, indices.at, p.planes + c * p.step, values);
    } else {
      edge.load(p.planes + c * p.step, p.fills[c], values);
    }
    const Vec<T> value = weighted<Vec<T>, D, W>(values, weights.w);
    store_some(to + c * to_step, to_mask<T>(taps.dead) ? splat<T>(p.fills[c]) : value, left);
  }
}

// Calls work(first pixel in the run, coordinates, pixels) for the vectors that need care, and
// off(first pixel in the run, pixels) for groups that are off the image.
template <class T, int D, int W, class F, class G>
STN_INLINE void for_careful(Planar<T, D, W>& p, const F& work, const G& off) {
  for (int k = 0; k < p.run.careful; ++k) {
    const auto& group = p.run.groups[k];
    if (group.off) {
      off(group.at, group.left);
      continue;
    }
    p.points.row(group.r);
    for (int v = 0; v < group.left; v += kLanes<T>) {
      const int left = group.left - v < kLanes<T> ? group.left - v : kLanes<T>;
      Vec<T> u[D];
      p.points.at(group.j + v, left, u);
      work(group.at + v, u, left);
    }
  }
}

template <class T, int D, int W>
void planar_forward(const Call<T>& call, int64_t b, int64_t first, int64_t last, int64_t low,
                    int64_t high) {
  Planar<T, D, W> p(call, b);
  const bool gather = kMayGather && gathers();
  for (int64_t block = low; block < high; block += call.block) {
    const int64_t end = block + call.block < high ? block + call.block : high;
    p.open(block, end, first, last);
    p.for_runs(first, last, [&]() STN_LAMBDA {
      const bool in_place = call.as_stored();
      const int64_t step = in_place ? call.out_plane() : kRun + kGroup;
      T* to = in_place ? static_cast<T*>(call.out) + p.place(block) : p.rows;
      p.run.for_quick([&](int from, int end) STN_LAMBDA {
        for (int64_t c = 0; c < p.count; ++c) {
          const T* plane = p.planes + c * p.step;
          if (kMayGather && gather) {
            forward_quickly<T, D, W, kMayGather>(p, from, end, plane, to + c * step);
          } else {
            forward_quickly<T, D, W, false>(p, from, end, plane, to + c * step);
          }
        }
      });
      const auto careful = [&](int n, const Vec<T>* u, int left) STN_LAMBDA {
        forward_carefully<T, D, W>(p, u, to + n, step, left);
      };
      for_careful(p, careful, [&](int n, int left) STN_LAMBDA {
        for (int64_t c = 0; c < p.count; ++c) {
          for (int k = 0; k < left; ++k) to[c * step + n + k] = p.fills[c];
        }
      });
      if (in_place) return;
      stored_pixels<T, true>(call, call.out, call.out_plane(), b, p.run.first, p.run.count, block,
                             end, to, Steps{1, step});
    });
  }
}

template <class T, int D, int W>
STN_INLINE void add_slopes(const Vec<T>* values, const Weights<T, D, W>& weights, const Vec<T>& g,
                           bool add, Vec<T>* slopes) {
  STN_UNROLL
  for (int k = 0; k < D; ++k) {
    const Vec<T> slope = g * sloped<Vec<T>, D, W>(k, values, weights.w, weights.slope);
    slopes[k] = add ? slopes[k] + slope : slope;
  }
}
// Pixels [first, last) of the run.
template <class T, int D, int W, bool Gather>
STN_INLINE void slopes_quickly(const Planar<T, D, W>& p, int first, int last, const T* plane,
                               const T* grad, bool add, T (*slopes)[kRun + kGroup]) {
  for (int n = first; n < last; n += kLanes<T>) {
    Vec<T> t[D], values[kTaps<D, W>], slope[D];
    for (int k = 0; k < D; ++k) {
      t[k] = load<Vec<T>>(p.run.t[k] + n);
      if (add) slope[k] = load<Vec<T>>(slopes[k] + n);
    }
    const Weights<T, D, W> weights(t, true);
    p.foresee(plane, n);
    load_taps<T, D, W, Gather>(p.strides, p.run.index + n, plane, values);
    __builtin_prefetch(grad + n + kSoon<T>, 0, 2);
    add_slopes<T, D, W>(values, weights, load_some(grad + n, last - n), add, slope);
    for (int k = 0; k < D; ++k) store_some(slopes[k] + n, slope[k], last - n);
  }
}
template <class T, int D, int W>
void slopes_carefully(const Planar<T, D, W>& p, const Vec<T>* u, const T* grad, int64_t grad_step,
                      int left, Vec<T>* slopes) {
  Taps<T, D> taps;
  p.finder.careful(u, taps);
  const Weights<T, D, W> weights(taps.t, true);
  const Indices<T> indices(taps.index);
  EdgeTaps<T, D, W> edge(p.call);
  if (!p.call.pad && !edge.find(p.call, taps)) {
    for (int k = 0; k < D; ++k) slopes[k] = Vec<T>{};
    return;
  }
  for (int64_t c = 0; c < p.count; ++c) {
    Vec<T> values[kTaps<D, W>];
    if (p.call.pad) {
      load_taps<T, D, W>(p.strides, indices.at, p.planes + c * p.step, values);
    } else {
      edge.load(p.planes + c * p.step, p.fills[c], values);
    }
    add_slopes<T, D, W>(values, weights, load_some(grad + c * grad_step, left), c > 0, slopes);
  }
  for (int k = 0; k < D; ++k) slopes[k] = taps.turned(k, slopes[k]);
}

template <class T, int D, int W>
void planar_map_gradient(const Call<T>& call, int64_t b, int64_t first, int64_t last,
                         double* part) {
  Planar<T, D, W> p(call, b);
  MapGradient<T, D> gradient(call, p.points, b);
  const bool gather = kMayGather && gathers();
  p.run.located = !call.p.grid && !call.p.projective;
  alignas(64) T slopes[D][kRun + kGroup];
  for (int64_t block = 0; block < call.p.channels; block += call.block) {
    const int64_t left_over = call.p.channels - block;
    p.open(block, block + (left_over < call.block ? left_over : call.block), first, last);
    gradient.add = block > 0;
    p.for_runs(first, last, [&]() STN_LAMBDA {
      int64_t grad_step;
      const T* grad = p.run_of(call.grad, block, grad_step);
      p.run.for_quick([&](int from, int end) STN_LAMBDA {
        for (int64_t c = 0; c < p.count; ++c) {
          const bool add = c > 0 || (call.alone && block > 0);
          const T *plane = p.planes + c * p.step, *g = grad + c * grad_step;
          if (kMayGather && gather) {
            slopes_quickly<T, D, W, kMayGather>(p, from, end, plane, g, add, slopes);
          } else {
            slopes_quickly<T, D, W, false>(p, from, end, plane, g, add, slopes);
          }
        }
      });
      const auto careful = [&](int n, const Vec<T>* u, int left) STN_LAMBDA {
        Vec<T> slope[D];
        slopes_carefully<T, D, W>(p, u, grad + n, grad_step, left, slope);
        for (int k = 0; k < D; ++k) {
          if (call.alone && block > 0) slope[k] += load_some(slopes[k] + n, left);
          store_some(slopes[k] + n, slope[k], left);
        }
      };
      for_careful(p, careful, [&](int n, int left) STN_LAMBDA {
        for (int k = 0; k < D; ++k) {
          for (int i = 0; i < left; ++i) slopes[k][n + i] = 0;
        }
      });
      if (call.alone && block + 1 < call.p.channels) return;
      if (p.run.located) {
        for (int k = 0; k < D; ++k) p.store_group(slopes[k] + p.run.count, T(0));
        return gradient.run(p.run.count, slopes, p.run.at);
      }
      int64_t r = p.run.r, j = p.run.j;
      for (int n = 0, m; n < p.run.count; n += m, ++r, j = 0) {
        m = int(p.width - j < p.run.count - n ? p.width - j : p.run.count - n);
        if (call.p.projective) p.points.row(r);
        gradient.pixels(r, j, m, slopes, n);
      }
    });
  }
  gradient.close(part);
}
