// Vectors of STN_BYTES in the compiler's own vector types: SSE2, AVX2, AVX-512 or NEON, whichever
// this is being compiled for. Without contraction to fused multiply-add (a compiler flag) all of
// them give the same bits.

template <class T>
constexpr int kLanes = STN_BYTES / sizeof(T);

template <class T>
struct Lanes;
template <>
struct Lanes<float> {
  typedef float V __attribute__((vector_size(STN_BYTES)));
  typedef int32_t M __attribute__((vector_size(STN_BYTES)));
  typedef int32_t I __attribute__((vector_size(STN_BYTES)));
};
template <>
struct Lanes<double> {
  typedef double V __attribute__((vector_size(STN_BYTES)));
  typedef int64_t M __attribute__((vector_size(STN_BYTES)));
  typedef int32_t I __attribute__((vector_size(STN_BYTES / 2)));
};
template <class T>
using Vec = typename Lanes<T>::V;   // numbers
template <class T>
using Mask = typename Lanes<T>::M;  // what comparing them gives: all bits, or none
template <class T>
using Int = typename Lanes<T>::I;   // as many 32-bit integers

template <class V, class T>
STN_INLINE V load(const T* p) {
  V v;
  memcpy(&v, p, sizeof v);
  return v;
}
template <class V, class T>
STN_INLINE void store(T* p, const V& v) {
  memcpy(p, &v, sizeof v);
}
// The first `left` lanes (all, if there are that many); the others are zero, or left alone.
template <class T>
STN_INLINE Vec<T> load_some(const T* p, int left) {
  if (left >= kLanes<T>) return load<Vec<T>>(p);
  T some[kLanes<T>] = {};
  for (int k = 0; k < left; ++k) some[k] = p[k];
  return load<Vec<T>>(some);
}
template <class T>
STN_INLINE void store_some(T* p, const Vec<T>& v, int left) {
  if (left >= kLanes<T>) return store(p, v);
  T some[kLanes<T>];
  store(some, v);
  for (int k = 0; k < left; ++k) p[k] = some[k];
}

template <class T>
STN_INLINE Vec<T> splat(T x) {
  return x - Vec<T>{};  // and not x + 0, which is not x for -0
}
template <class T>
STN_INLINE Int<T> to_int(const Vec<T>& v) {
  return __builtin_convertvector(v, Int<T>);
}
template <class T>
STN_INLINE Int<T> to_int_mask(const Mask<T>& m) {
  return __builtin_convertvector(m, Int<T>);
}
// floor for |v| < 2^31; SSE2 has no such instruction
template <class T>
STN_INLINE Vec<T> floor_small(const Vec<T>& v) {
  const Vec<T> whole = __builtin_convertvector(to_int<T>(v), Vec<T>);
  return whole > v ? whole - 1 : whole;
}
template <class M>
STN_INLINE bool any(const M& m) {
  int64_t words[sizeof(M) / 8], all = 0;
  memcpy(words, &m, sizeof m);
  for (size_t k = 0; k < sizeof(M) / 8; ++k) all |= words[k];
  return all != 0;
}

// As many numbers as a vector of doubles has, as one.
template <class T>
STN_INLINE Vec<double> load_as_double(const T* p) {
  typedef T Few __attribute__((vector_size(kLanes<double> * sizeof(T))));
  return __builtin_convertvector(load<Few>(p), Vec<double>);
}

// source[index] and source[index + 1]. Two neighbours are one load of twice the width, which is
// faster than the processors' gather instructions.
STN_INLINE void load_pairs(const float* source, const int32_t* index, Vec<float>& first,
                           Vec<float>& second) {
  typedef double Pairs __attribute__((vector_size(STN_BYTES)));
  constexpr int n = kLanes<float>;
  double p[n];
  for (int k = 0; k < n; ++k) memcpy(&p[k], source + index[k], 8);
#if STN_BYTES == 64
  const Pairs a = {p[0], p[1], p[4], p[5], p[8], p[9], p[12], p[13]};
  const Pairs b = {p[2], p[3], p[6], p[7], p[10], p[11], p[14], p[15]};
  const Vec<float> u = (Vec<float>)a, v = (Vec<float>)b;
  first = __builtin_shuffle(
      u, v, Int<float>{0, 2, 16, 18, 4, 6, 20, 22, 8, 10, 24, 26, 12, 14, 28, 30});
  second = __builtin_shuffle(
      u, v, Int<float>{1, 3, 17, 19, 5, 7, 21, 23, 9, 11, 25, 27, 13, 15, 29, 31});
#elif STN_BYTES == 16
  const Pairs a = {p[0], p[1]}, b = {p[2], p[3]};
  const Vec<float> u = (Vec<float>)a, v = (Vec<float>)b;
  first = __builtin_shuffle(u, v, Int<float>{0, 2, 4, 6});
  second = __builtin_shuffle(u, v, Int<float>{1, 3, 5, 7});
#else
  // shuffles stay within lanes of 128 bits, hence the order
  const Pairs a = {p[0], p[1], p[4], p[5]}, b = {p[2], p[3], p[6], p[7]};
  const Vec<float> u = (Vec<float>)a, v = (Vec<float>)b;
  first = __builtin_shuffle(u, v, Int<float>{0, 2, 8, 10, 4, 6, 12, 14});
  second = __builtin_shuffle(u, v, Int<float>{1, 3, 9, 11, 5, 7, 13, 15});
#endif
}
STN_INLINE void load_pairs(const double* source, const int32_t* index, Vec<double>& first,
                           Vec<double>& second) {
  for (int k = 0; k < kLanes<double>; ++k) {
    first[k] = source[index[k]];
    second[k] = source[index[k] + 1];
  }
}
