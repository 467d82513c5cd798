"""First names that readers of English take for a man's or a woman's."""

MALE = (
    *("James", "John", "Robert", "Michael", "David", "William", "Richard", "Joseph", "Thomas"),
    *("Charles", "Daniel", "Matthew", "Anthony", "Mark", "Paul", "Steven", "Andrew", "Kevin"),
    *("Brian", "George", "Edward", "Jason", "Ryan", "Jacob", "Eric", "Stephen", "Scott", "Frank"),
    *("Gregory", "Patrick", "Jack", "Peter", "Henry", "Adam", "Simon", "Tom", "Luke", "Ben"),
)
FEMALE = (
    *("Mary", "Jennifer", "Linda", "Elizabeth", "Susan", "Jessica", "Sarah", "Karen", "Lisa"),
    *("Nancy", "Margaret", "Sandra", "Emily", "Michelle", "Amanda", "Melissa", "Rebecca", "Laura"),
    *("Amy", "Anna", "Helen", "Samantha", "Katherine", "Christine", "Rachel", "Maria", "Catherine"),
    *("Alice", "Emma", "Kate", "Jane", "Julia", "Anne", "Ruth", "Lucy", "Claire", "Martha"),
)
