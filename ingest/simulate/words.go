package simulate

import "strings"

// Words that make up texts. They are few on purpose: full-text search should
// find several records for each.
var (
	adjectives = strings.Fields(`amber ancient autumn bitter blue braised bright brisk buttery calm candied charred
		citrus clever cloudy coastal cosy creamy crisp crunchy curious dark deep double dry early easy eastern fiery
		forgotten fresh gentle glazed golden grand green grilled hidden honest humble icy idle jolly late lazy light
		little lively lost loud lucky mellow mild minty modern northern odd old open pale peppery pickled plain proud
		quick quiet rare red roasted rustic salty savoury secret sharp silent simple slow smoky smooth soft sour
		southern spicy spring stray sunny sweet tangy tender tiny toasted velvet warm western white wild winter young`)
	nouns = strings.Fields(`afternoon almond apple apricot archive atlas balcony barley basil beacon bean beet bell bicycle
		bread bridge broth butter cabbage cafe camera cardamom carrot castle cedar chapel cherry chestnut chickpea
		cinnamon circle clock cloud compass cookie coral corner courtyard cucumber curry cycle dance dawn dragon dumpling
		echo ember engine evening fennel ferry festival fig flute forest fountain fox garden garlic ginger granite
		grape guitar harbour hazelnut hill honey horizon island jasmine journal juniper kettle kitchen lantern leek
		lemon lentil library lighthouse lime lobby locket mango map maple market meadow melody mint mirror morning
		mountain mushroom mustard noodle notebook oak oasis ocean olive onion orange orchard oven owl pancake
		paper parsley pasta peach pear pepper piano pickle pine pizza plum pond poppy potato pumpkin quince radish
		raven recipe ribbon rice river rosemary saffron sage salad salt sea season sesame signal skillet soup sparrow
		spinach star station stew stone story street studio sunday supper table tapestry tea theatre thyme tomato
		tower train turnip umbrella valley vanilla village violin voyage waffle walnut water whisper willow window
		winter workshop yard yoghurt zucchini`)
	foods = strings.Fields(`almonds apples apricots barley basil beans beets bread butter cabbage cardamom carrots
		cherries chestnuts chickpeas cinnamon cucumber dates fennel figs flour garlic ginger grapes hazelnuts honey
		kale leeks lemons lentils limes mangoes mint mushrooms mustard noodles oats olives onions parsley pasta peaches
		pears peas peppers plums potatoes pumpkin quinces radishes rice rosemary saffron sage spinach stock sugar
		tahini thyme tofu tomatoes turnips vanilla vinegar walnuts yoghurt zucchini`)
	verbs = strings.Fields(`bake begin borrow break bring build carry catch chase chop climb cook cross dance deliver
		discover draw dream drink eat explore fill find follow forget gather grow hear hide hold invent keep learn
		leave listen make meet mend mix paint play plant pour read remember rest roast sail season sell send share
		simmer sing sketch sleep slice stir taste teach trade travel wait walk wander watch whisk write`)
	linkers = strings.Fields(`about above across after against along among around before behind below beneath beside
		beyond during for from in inside near of on over past since through towards under until with without`)
	firstNames = strings.Fields(`Ada Aiko Amara Anselm Beatriz Bela Björn Carmen Chidi Clara Davit Dilnoza Eero Elif
		Emeka Esther Farah Felix Gabriela Goran Hana Hugo Ines Ishaan Jada Jakub Jun Kalinda Karim Kofi Lale Leilani
		Leo Lucía Maja Malik Mei Milan Nadia Naoko Nia Noor Olga Omar Paula Petra Quentin Rafael Rania Rosa Ruben
		Sade Selma Soren Tadeo Tamar Thandi Tomás Uma Valentin Wanjiru Xavier Yara Yusuf Zeynep Zoë`)
	lastNames = strings.Fields(`Abara Adler Almeida Andersson Baker Banerjee Castillo Chen Costa Dahl Demir Diallo
		Eriksen Fischer Fonseca Garcia Gruber Haddad Hansen Horvat Ito Ivanova Jansen Joshi Kamau Kaya Kim Kovač
		Laurent Lindqvist López Mbeki Meyer Moreau Nakamura Ndiaye Novak Okafor Oliveira Park Petrov Quispe Rahman
		Rossi Sato Schmidt Silva Singh Szabó Tanaka Tran Ueda Varga Weber Yilmaz Zhang`)
	places = strings.Fields(`Aarhus Accra Antwerp Bergen Bogotá Brno Cusco Dakar Fukuoka Galway Ghent Hanoi Izmir Kraków
		Kyoto Lagos Leipzig Lima Lisbon Ljubljana Malmö Montréal Nairobi Oaxaca Osaka Oslo Palermo Porto Quito Riga
		Sofia Tallinn Tbilisi Turin Utrecht Valencia Vilnius Wellington Zagreb Zürich`)
	kitchens = strings.Fields(`Basque Bengali Cantonese Cypriot Danish Ethiopian Georgian Greek Hawaiian Hungarian
		Japanese Korean Lebanese Malay Mexican Moroccan Oaxacan Persian Peruvian Polish Sichuan Sicilian Thai
		Turkish Vietnamese`)
	foreign = strings.Fields(`こんにちは 東京の夜 안녕하세요 مرحبا שלום привет γειά नमस्ते สวัสดี 你好世界 Größe naïve façade`)
	emoji   = strings.Fields(`👍 👎 💙 🥹 😧 🙃 😉 😎 🤓 🤨 🥳 😭 😤 🤯 🫡 💀 ✊ 🤘 👀 🧠 👩‍💻 🧑‍💻 🥷 🧌 🦋 🚀 🍞 🍜 🌶️ ❤️`)
	units   = strings.Fields(`g ml tbsp tsp cups cloves slices handfuls`)
	langs   = strings.Fields(`en en en de ja pt-BR es fr ko uk ar`)
	domains = strings.Fields(`example.com example.org example.net blog.example.com news.example.org wiki.example.net
		photos.example.com shop.example.org`)
)
