// Plain values over a pipe, for tests that call a C++ function in another process. On the side of the tests it is
// compiled with the tests, on the other with the program; what arrives is read with bounds and rebuilt.
#include <any>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>
#include <unistd.h>
#if __has_include(<boost/any.hpp>)
#include <boost/any.hpp>
#define HONE_BOOST 1
#endif

namespace hone_ {

enum { GONE = 90, MALFORMED = 91, THREW = 92, MAX_BYTES = 64 << 20, IN = 4, OUT = 5 };

struct Out {
    std::string b;
    void raw(const void *p, size_t n) { b.append(static_cast<const char *>(p), n); }
};

struct In {
    std::string b;
    size_t at = 0;
    void raw(void *p, size_t n) {
        if (n > b.size() - at) _exit(MALFORMED);
        memcpy(p, b.data() + at, n);
        at += n;
    }
    size_t count() {
        uint64_t n;
        raw(&n, 8);
        if (n > b.size() - at) _exit(MALFORMED);  // every element takes a byte at least
        return n;
    }
};

template <class T, class = void> struct Wire {
    static_assert(!sizeof(T), "a type that is not plain data cannot go between the tests and the program");
};
template <class T> void put(Out &o, const T &v) { Wire<T>::put(o, v); }
template <class T> void get(In &i, T &v) { Wire<T>::get(i, v); }

template <class T> struct Wire<T, std::enable_if_t<std::is_integral_v<T> || std::is_enum_v<T>>> {
    static void put(Out &o, const T &v) { int64_t x = static_cast<int64_t>(v); o.raw(&x, 8); }
    static void get(In &i, T &v) {
        int64_t x;
        i.raw(&x, 8);
        v = static_cast<T>(x);
        if (static_cast<int64_t>(v) != x) _exit(MALFORMED);
    }
};
template <class T> struct Wire<T, std::enable_if_t<std::is_floating_point_v<T>>> {
    static void put(Out &o, const T &v) { o.raw(&v, sizeof v); }
    static void get(In &i, T &v) { i.raw(&v, sizeof v); }
};
template <> struct Wire<std::string> {
    static void put(Out &o, const std::string &v) { uint64_t n = v.size(); o.raw(&n, 8); o.raw(v.data(), n); }
    static void get(In &i, std::string &v) { size_t n = i.count(); v.resize(n); i.raw(&v[0], n); }
};
template <> struct Wire<const char *> {
    static void put(Out &o, const char *const &v) { Wire<std::string>::put(o, v ? v : ""); }
    static void get(In &i, const char *&v) {
        static std::list<std::string> kept;
        kept.emplace_back();
        Wire<std::string>::get(i, kept.back());
        v = kept.back().c_str();
    }
};
template <class C> struct Sequence {
    static void put(Out &o, const C &v) {
        uint64_t n = v.size();
        o.raw(&n, 8);
        for (const auto &x : v) hone_::put<typename C::value_type>(o, x);
    }
    static void get(In &i, C &v) {
        v.clear();
        for (size_t n = i.count(); n > 0; n--) {
            typename C::value_type x{};
            hone_::get(i, x);
            v.insert(v.end(), std::move(x));
        }
    }
};
template <class T, class A> struct Wire<std::vector<T, A>> : Sequence<std::vector<T, A>> {};
template <class T, class A> struct Wire<std::list<T, A>> : Sequence<std::list<T, A>> {};
template <class T, class A> struct Wire<std::deque<T, A>> : Sequence<std::deque<T, A>> {};
template <class T, class L, class A> struct Wire<std::set<T, L, A>> : Sequence<std::set<T, L, A>> {};
template <class T, class L, class A> struct Wire<std::multiset<T, L, A>> : Sequence<std::multiset<T, L, A>> {};
template <class T, class H, class E, class A> struct Wire<std::unordered_set<T, H, E, A>> : Sequence<std::unordered_set<T, H, E, A>> {};
template <class C> struct Mapping {
    static void put(Out &o, const C &v) {
        uint64_t n = v.size();
        o.raw(&n, 8);
        for (const auto &x : v) hone_::put(o, x.first), hone_::put(o, x.second);
    }
    static void get(In &i, C &v) {
        v.clear();
        for (size_t n = i.count(); n > 0; n--) {
            typename C::key_type k{};
            typename C::mapped_type x{};
            hone_::get(i, k);
            hone_::get(i, x);
            v.emplace(std::move(k), std::move(x));
        }
    }
};
template <class K, class T, class L, class A> struct Wire<std::map<K, T, L, A>> : Mapping<std::map<K, T, L, A>> {};
template <class K, class T, class L, class A> struct Wire<std::multimap<K, T, L, A>> : Mapping<std::multimap<K, T, L, A>> {};
template <class K, class T, class H, class E, class A> struct Wire<std::unordered_map<K, T, H, E, A>> : Mapping<std::unordered_map<K, T, H, E, A>> {};
template <class A, class B> struct Wire<std::pair<A, B>> {
    static void put(Out &o, const std::pair<A, B> &v) { hone_::put(o, v.first), hone_::put(o, v.second); }
    static void get(In &i, std::pair<A, B> &v) { hone_::get(i, v.first), hone_::get(i, v.second); }
};
template <class... T> struct Wire<std::tuple<T...>> {
    static void put(Out &o, const std::tuple<T...> &v) { std::apply([&](const T &...x) { (hone_::put(o, x), ...); }, v); }
    static void get(In &i, std::tuple<T...> &v) { std::apply([&](T &...x) { (hone_::get(i, x), ...); }, v); }
};
template <class T, size_t N> struct Wire<std::array<T, N>> {
    static void put(Out &o, const std::array<T, N> &v) { for (const auto &x : v) hone_::put(o, x); }
    static void get(In &i, std::array<T, N> &v) { for (auto &x : v) hone_::get(i, x); }
};
template <class T> struct Wire<std::optional<T>> {
    static void put(Out &o, const std::optional<T> &v) { hone_::put(o, v.has_value()); if (v) hone_::put(o, *v); }
    static void get(In &i, std::optional<T> &v) {
        bool have;
        hone_::get(i, have);
        v.reset();
        if (have) { T x{}; hone_::get(i, x); v = std::move(x); }
    }
};

// A value of any type: its kind by number, from the list below; what is not on the list goes as nothing.
#define HONE_KINDS(X) X(1, int) X(2, long) X(3, long long) X(4, double) X(5, float) X(6, bool) X(7, char) X(8, std::string) X(9, const char *) \
    X(10, std::vector<int>) X(11, std::vector<double>) X(12, std::vector<std::string>) X(13, unsigned) X(14, std::vector<float>)
#define HONE_ANY(Any, cast, is_empty)                                                                                     \
    template <> struct Wire<Any> {                                                                                        \
        static void put(Out &o, const Any &v) {                                                                           \
            HONE_KINDS(HONE_PUT_##cast)                                                                                   \
            hone_::put<int>(o, 0);                                                                                        \
        }                                                                                                                 \
        static void get(In &i, Any &v) {                                                                                  \
            int k;                                                                                                        \
            hone_::get(i, k);                                                                                             \
            v = Any();                                                                                                    \
            switch (k) {                                                                                                  \
            case 0: break;                                                                                                \
                HONE_KINDS(HONE_GET)                                                                                      \
            default: _exit(MALFORMED);                                                                                    \
            }                                                                                                             \
        }                                                                                                                 \
    };
#define HONE_GET(n, T) case n: { T x{}; hone_::get(i, x); v = x; break; }
#define HONE_PUT_std(n, T) if (auto p = std::any_cast<T>(&v)) { hone_::put<int>(o, n); hone_::put<T>(o, *p); return; }
HONE_ANY(std::any, std, )
#ifdef HONE_BOOST
#define HONE_PUT_boost(n, T) if (auto p = boost::any_cast<T>(&v)) { hone_::put<int>(o, n); hone_::put<T>(o, *p); return; }
HONE_ANY(boost::any, boost, )
#endif

inline bool read_all(void *p, size_t n) {
    for (char *c = static_cast<char *>(p); n > 0;) {
        ssize_t k = read(IN, c, n);
        if (k <= 0) return false;
        c += k, n -= static_cast<size_t>(k);
    }
    return true;
}
inline bool write_all(const void *p, size_t n) {
    for (const char *c = static_cast<const char *>(p); n > 0;) {
        ssize_t k = write(OUT, c, n);
        if (k <= 0) return false;
        c += k, n -= static_cast<size_t>(k);
    }
    return true;
}
inline bool send(const Out &o) {
    uint32_t n = static_cast<uint32_t>(o.b.size());
    return o.b.size() <= MAX_BYTES && write_all(&n, 4) && write_all(o.b.data(), n);
}
inline bool recv(In &i) {
    uint32_t n;
    if (!read_all(&n, 4)) return false;
    if (n > MAX_BYTES) _exit(MALFORMED);
    i.b.resize(n);
    i.at = 0;
    return read_all(&i.b[0], n);
}

template <class F> struct Sig {};  // a signature as a type; no function of it exists on this side

template <class T> constexpr bool comes_back = std::is_lvalue_reference_v<T> && !std::is_const_v<std::remove_reference_t<T>>;
template <class T> void put_arg(Out &o, const std::decay_t<T> &v) { if constexpr (comes_back<T>) put(o, v); }
template <class T> void get_arg(In &i, std::remove_reference_t<T> &v) { if constexpr (comes_back<T>) get(i, v); }

// The side of the tests: R(A...) by number.
template <class R, class... A> R call(int which, Sig<R(A...)>, std::remove_reference_t<A> &...a) {
    Out o;
    In i;
    put(o, which);
    (put<std::decay_t<A>>(o, a), ...);
    if (!send(o) || !recv(i)) _exit(GONE);
    char how;
    i.raw(&how, 1);
    if (how == 'e') _exit(THREW);
    if (how != 'v') _exit(MALFORMED);
    if constexpr (std::is_void_v<R>) {
        (get_arg<A>(i, a), ...);
    } else {
        std::decay_t<R> r{};
        get(i, r);
        (get_arg<A>(i, a), ...);
        if (i.at != i.b.size()) _exit(MALFORMED);
        return r;
    }
}

// The side of the program.
template <class R, class... A, class F> void answer(In &i, Sig<R(A...)>, F f) {
    std::tuple<std::decay_t<A>...> a{};
    std::apply([&](auto &...x) { (get(i, x), ...); }, a);
    Out o;
    o.b = "v";
    try {
        if constexpr (std::is_void_v<R>) {
            std::apply([&](auto &...x) { f(static_cast<A &&>(x)...); }, a);
        } else {
            std::decay_t<R> r = std::apply([&](auto &...x) -> std::decay_t<R> { return f(static_cast<A &&>(x)...); }, a);
            put(o, r);
        }
        std::apply([&](auto &...x) { (put_arg<A>(o, x), ...); }, a);
    } catch (...) {
        o.b = "e";
    }
    if (!send(o)) _exit(0);
}

}  // namespace hone_
